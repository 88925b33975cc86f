"""`/api/v1/cases`: cases, their runs, questions, events and evidence."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.responses import StreamingResponse

from pathagent import followups
from pathagent.reading_room import cases, conversation, opinions, overlays, stream, tiles, versions
from pathagent.reading_room.access import TheReader, TheRoom, own_case, shown_case
from pathagent.reading_room.schemas import AnotherLook, NewCase, NewReader, PatientKey, Question
from pathagent.reading_room.tables import CaseRow, RunRow
from pathagent.reading_room.timeline import add_key, patient_digest
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report

router = APIRouter(prefix="/cases", tags=["cases"])
_KEPT = {"cache-control": "private, max-age=3600"}
_PICTURE_PX = 256


@router.get("")
def listed(room: TheRoom, reader: TheReader) -> list[dict[str, Any]]:
    """The reader's cases, newest first, with the state of each."""
    with room.database.reading() as session:
        return [
            {"id": c.id, "title": c.title, "state": state, "created": c.created, "slides": c.slides}
            for c, state in cases.cases_of(session, reader.user)
        ]


@router.post("", status_code=201)
def opened(new: NewCase, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Open a case. 422 with kind `no resolution` where `mpp` must be given."""
    row = cases.open_case(
        room, reader.user, new.slides, title=new.title, notes=new.notes, specimen=new.specimen, mpp=new.mpp,
        patient=patient_digest(room.settings.data, new.patient), reader_mode=new.reader_mode,
        illustrate=new.illustrate,
    )  # fmt: skip
    with room.writing() as session:
        if new.draft:
            cases.ask_for(room, session, row, reader.user, "draft")
    room.line.wake()
    return case(row.id, room, reader)


@router.get("/{case_id}")
def case(case_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """The whole case: slides, conversation, evidence, draft; `newest_event` is where to follow on."""
    with room.database.reading() as session:
        return conversation.case_view(room, session, own_case(session, reader, case_id), reader.user)


@router.post("/{case_id}/readers", status_code=201)
def share(case_id: str, other: NewReader, room: TheRoom, reader: TheReader) -> list[str]:
    """Share a case: the other user may read, ask and review it. Gives the names of its readers."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        cases.share(session, row, reader.user, other.name)
        return cases.readers_of(session, row)


@router.post("/{case_id}/patient", status_code=204)
def patient(case_id: str, said: PatientKey, room: TheRoom, reader: TheReader) -> Response:
    """Tie the case to its patient by a key, once. 409 where it has another key, 422 for a reader."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        add_key(session, row, reader.user, patient_digest(room.settings.data, said.key))
    return Response(status_code=204)


@router.post("/{case_id}/drafts", status_code=202)
def draft(case_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Put a draft of the report into the line."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        if any(
            r.kind in ("draft", "look") and r.state in cases.AT_WORK for r in cases.runs_of(session, case_id)
        ):
            raise UserError("A draft of this case is being made already. Wait for it, or stop it first.")
        view = conversation.run_view(session, cases.ask_for(room, session, row, reader.user, "draft"))
    room.line.wake()
    return view


@router.post("/{case_id}/questions", status_code=202)
def question(case_id: str, asked: Question, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Ask about the case, or about a drawn region of it. What has been seen is used before looking again."""
    with room.writing() as session:
        row = shown_case(session, reader, case_id)
        region = _region(asked, row, room)
        kind: cases.Kind = "ask" if region is None else "region"
        run = cases.ask_for(room, session, row, reader.user, kind, question=asked.question, region=region)
        view = conversation.run_view(session, run)
    room.line.wake()
    return view


def _region(asked: Question, row: CaseRow, room: TheRoom) -> Region | None:
    """The drawn region, inside the canvas of its slide. UserError where it is not on the case's slides."""
    if asked.region is None:
        return None
    name, box = asked.slide or "S1", asked.region
    slide = room.library.open(_slide_id(row, name), row.mpp)
    return followups.drawn_on(slide, name, (box.x, box.y, box.width, box.height))


@router.post("/{case_id}/looks", status_code=202)
def another_look(case_id: str, asked: AnotherLook, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Look further for a claim of the newest draft; a new draft comes of it."""
    with room.writing() as session:
        row = shown_case(session, reader, case_id)
        newest = versions.latest(session, case_id)
        claims = Report.model_validate(newest.report).claims if newest else ()
        claim = next((c for c in claims if c.id == asked.claim), None)
        if claim is None:
            raise UserError(f"The draft has no claim {asked.claim}.")
        run = cases.ask_for(room, session, row, reader.user, "look", about=claim.text)
        view = conversation.run_view(session, run)
    room.line.wake()
    return view


@router.get("/{case_id}/runs/{run_id}")
def run(case_id: str, run_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """One run with its report, where it has one."""
    with room.database.reading() as session:
        found = _run(session, shown_case(session, reader, case_id), run_id)
        return conversation.run_view(session, found) | {"report": found.report}


@router.get("/{case_id}/runs/{run_id}/events")
def run_events(
    case_id: str,
    run_id: str,
    room: TheRoom,
    reader: TheReader,
    after: Annotated[int, Query(ge=0)] = 0,
) -> list[dict[str, Any]]:
    """At most 500 events of a run after an id."""
    with room.database.reading() as session:
        _run(session, shown_case(session, reader, case_id), run_id)
    return stream.events_after(room, case_id, after, run_id)


@router.post("/{case_id}/runs/{run_id}/stop", status_code=202)
def stop(case_id: str, run_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """End a run after the step that it is at; one that still waits in the line leaves it."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        found, hidden = _run(session, row, run_id), opinions.withheld(session, row, reader.user)
        if found.state == "queued":
            room.set_state(session, found, "stopped", "stopped by its reader")
        elif found.state == "running":
            room.line.stop_run(run_id)
        return conversation.run_view(session, found, hidden=hidden)


@router.post("/{case_id}/runs/{run_id}/resume", status_code=202)
def resume(case_id: str, run_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Go on with a run that paused, stopped or failed, from its last checkpoint."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        found, hidden = _run(session, row, run_id), opinions.withheld(session, row, reader.user)
        if found.state not in ("paused", "stopped", "failed"):
            raise UserError(f"This run does not wait to be resumed: it is {found.state}.")
        room.set_state(session, found, "deciding" if found.decision else "queued")
        view = conversation.run_view(session, found, hidden=hidden)
    room.line.wake()
    return view


def _run(session: Any, row: CaseRow, run_id: str) -> RunRow:
    found: RunRow | None = session.get(RunRow, run_id)
    if found is None or found.case_id != row.id:
        raise HTTPException(404, "There is no such run.")
    return found


@router.get("/{case_id}/events")
async def events(
    case_id: str,
    request: Request,
    room: TheRoom,
    reader: TheReader,
    after: Annotated[int, Query(ge=0)] = 0,
) -> StreamingResponse:
    """The case's events as they happen (server-sent events); goes on after `Last-Event-ID`. In reader mode,
    until the reader has committed an opinion, only how far the runs are."""
    with room.database.reading() as session:
        hidden = opinions.withheld(session, own_case(session, reader, case_id), reader.user)
    since, kinds = stream.last_event_id(request, after), opinions.OPEN_KINDS if hidden else None
    told = stream.follow(room, request, case_id, since, kinds=kinds)
    return StreamingResponse(told, media_type="text/event-stream")


@router.get("/{case_id}/evidence/{evidence_id}.jpeg")
def evidence(case_id: str, evidence_id: str, room: TheRoom, reader: TheReader) -> Response:
    """The pixels of one look."""
    with room.database.reading() as session:
        row = shown_case(session, reader, case_id)
        found = next(
            (e for e in conversation.ledger(cases.runs_of(session, case_id)) if e["id"] == evidence_id), None
        )
    if found is None:
        raise HTTPException(404, "There is no such look.")
    region = Region.model_validate(found["region"])
    slide = room.library.open(_slide_id(row, region.slide), row.mpp)
    pixels = slide.read(region.model_copy(update={"slide": slide.id}))
    return Response(tiles.jpeg(pixels), media_type="image/jpeg", headers=_KEPT)


@router.get("/{case_id}/slides/{slide}/region.jpeg")
def region(
    case_id: str,
    slide: str,
    room: TheRoom,
    reader: TheReader,
    x: int = 0,
    y: int = 0,
    width: Annotated[int, Query(ge=1)] = 256,
    height: Annotated[int, Query(ge=1)] = 256,
) -> Response:
    """A region (level-0 px) of one of the case's slides in a picture of at most 256 px."""
    with room.database.reading() as session:
        row = own_case(session, reader, case_id)
    opened = room.library.open(_slide_id(row, slide), row.mpp)
    if x >= opened.width or y >= opened.height or x + width <= 0 or y + height <= 0:
        raise HTTPException(404, "The region lies outside the slide.")
    mpp = opened.mpp * max(1.0, width / _PICTURE_PX, height / _PICTURE_PX)
    pixels = opened.read(Region(slide=opened.id, x=x, y=y, width=width, height=height, mpp=mpp))
    return Response(tiles.jpeg(pixels), media_type="image/jpeg", headers=_KEPT)


def _slide_id(row: CaseRow, name: str) -> str:
    """The slide of a case by its name there, S1, S2, …"""
    ids = {f"S{i + 1}": slide_id for i, slide_id in enumerate(row.slides)}
    if name not in ids:
        raise UserError(f"This case has no slide {name}. Its slides: {', '.join(ids)}.")
    return str(ids[name])


@router.get("/{case_id}/heat/{slide}")
def heat(case_id: str, slide: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """How unusual each scanned tile of a slide is, 0..1, question-free; 404 where nothing was scanned."""
    with room.database.reading() as session:
        row = shown_case(session, reader, case_id)
    known = {f"S{i + 1}" for i in range(len(row.slides))}
    found = overlays.heat(room.case_folder(case_id), slide) if slide in known else None
    if found is None:
        raise HTTPException(404, "This slide has not been scanned yet.")
    return found
