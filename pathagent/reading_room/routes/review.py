"""`/api/v1/cases/…/versions` and `decision`: a human's edits, the decision, and what can be downloaded."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Response
from sqlalchemy import select

from pathagent.reading_room import conversation, downloads, review, synthetic, versions
from pathagent.reading_room.access import ThePerson, TheReader, TheRoom, own_case, shown_case
from pathagent.reading_room.schemas import Decision, Edits
from pathagent.reading_room.tables import AuditRow, RunRow, VersionRow

router = APIRouter(prefix="/cases/{case_id}", tags=["review"])


@router.get("/review")
def newest(case_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """The newest version beside what the machine said before edits. 404 where there is no draft."""
    with room.database.reading() as session:
        view = conversation.review_view(session, shown_case(session, reader, case_id))
    if view is None:
        raise HTTPException(404, "This case has no draft yet.")
    return view


@router.get("/versions")
def listed(case_id: str, room: TheRoom, reader: TheReader) -> list[dict[str, Any]]:
    """All versions, oldest first: who wrote each, when, and what it changed."""
    with room.database.reading() as session:
        shown_case(session, reader, case_id)
        return [conversation.version_view(session, v) for v in versions.listed(session, case_id)]


@router.post("/versions", status_code=201)
def save(case_id: str, said: Edits, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Keep a reader's edits as a new version. 409 where somebody else has written one since `base`."""
    with room.writing() as session:
        row = shown_case(session, reader, case_id)
        review.save_edits(
            room, session, row, reader.user, base=said.base, edits=said.edits, accepted=said.accepted,
            comment=said.comment,
        )  # fmt: skip
    return newest(case_id, room, reader)


@router.post("/decision", status_code=202)
def decide(case_id: str, said: Decision, room: TheRoom, reader: ThePerson) -> dict[str, Any]:
    """Approve or reject the draft as version `base` has it. Takes a person who has signed in."""
    with room.writing() as session:
        row = shown_case(session, reader, case_id)
        run = review.decide(
            room, session, row, reader.user, base=said.base, decision=said.decision, comment=said.comment
        )
        view = conversation.run_view(session, run)
    room.line.wake()
    return view


@router.get("/audit")
def audit(case_id: str, room: TheRoom, reader: TheReader) -> list[dict[str, Any]]:
    """The links of the audit chain that tell of this case."""
    with room.database.reading() as session:
        own_case(session, reader, case_id)
        runs = set(session.scalars(select(RunRow.id).where(RunRow.case_id == case_id)))
        ids = {case_id, *runs, *session.scalars(select(VersionRow.id).where(VersionRow.case_id == case_id))}
        rows = session.scalars(select(AuditRow).where(AuditRow.subject.in_(ids)).order_by(AuditRow.seq))
        return [
            {"seq": r.seq, "at": r.at, "who": r.who, "action": r.action, "digest": r.digest} for r in rows
        ]


@router.get("/versions/{number}/report.{kind}")
def download(case_id: str, number: int, kind: str, room: TheRoom, reader: TheReader) -> Response:
    """A version of the report as json, html, pdf, docx, md or geojson."""
    with room.database.reading() as session:
        row = shown_case(session, reader, case_id)
        version = next((v for v in versions.listed(session, case_id) if v.number == number), None)
    if version is None or kind not in downloads.KINDS:
        raise HTTPException(404, "There is no such version or format.")
    data, media = downloads.make(room, row, version, kind)
    name = f"report-{case_id[:8]}-v{number}.{kind}"
    return Response(data, media_type=media, headers={"content-disposition": f'attachment; filename="{name}"'})


@router.get("/synthetic/{image_id}.png")
def illustration(case_id: str, image_id: str, room: TheRoom, reader: TheReader) -> Response:
    """A synthetic reference image of the newest draft, as the marked file that was written. No address gives
    one without its marks."""
    with room.database.reading() as session:
        row = shown_case(session, reader, case_id)
        newest = versions.latest(session, case_id)
    drawn = synthetic.marked(room, row, newest) if newest else {}
    if image_id not in drawn:
        raise HTTPException(404, "There is no such picture, or its file is not the marked one any more.")
    name = {"content-disposition": f'inline; filename="synthetic_{case_id[:8]}_{image_id}.png"'}
    return Response(drawn[image_id], media_type="image/png", headers=name)
