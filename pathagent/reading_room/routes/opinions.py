"""`/api/v1/cases/…/opinion` and `opinions.csv`: reader mode, and what came of it as a table."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from pathagent.reading_room import cases, conversation, opinions, timeline
from pathagent.reading_room.access import TheReader, TheRoom, own_case
from pathagent.reading_room.schemas import Compared, OwnOpinion

router = APIRouter(tags=["readers"])


@router.post("/cases/{case_id}/opinion/begin", status_code=201)
def begin(case_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """The reader sees the case for the first time: their time starts. Further calls change nothing."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        opinions.begin(session, row, reader.user)
        return conversation.opinion_view(session, row, reader.user)


@router.post("/cases/{case_id}/opinion", status_code=201)
def commit(case_id: str, said: OwnOpinion, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Commit an opinion, once; the machine's draft is shown after that."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        opinions.commit(session, row, reader.user, said.diagnosis, said.sure)
        return conversation.opinion_view(session, row, reader.user)


@router.post("/cases/{case_id}/opinion/agreement", status_code=201)
def compare(case_id: str, said: Compared, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Say, once, whether the draft agrees with the committed opinion."""
    with room.writing() as session:
        row = own_case(session, reader, case_id)
        opinions.compare(session, row, reader.user, said.agreement)
        return conversation.opinion_view(session, row, reader.user)


@router.get("/opinions.csv")
def table(room: TheRoom, reader: TheReader) -> Response:
    """The committed opinions of the reader's cases beside the machine's first draft, as CSV. A case in which
    the reader has not committed an opinion yet is left out."""
    with room.database.reading() as session:
        rows = [row for row, _ in cases.cases_of(session, reader.user)]
        rows = [row for row in rows if not opinions.withheld(session, row, reader.user)]
        text = opinions.as_csv(opinions.table(session, rows))
    name = {"content-disposition": 'attachment; filename="opinions.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=name)


@router.get("/cases/{case_id}/timeline")
def same_patient(case_id: str, room: TheRoom, reader: TheReader) -> list[dict[str, Any]]:
    """The patient's cases that the reader may see, oldest first, with their slides and newest reports."""
    with room.database.reading() as session:
        return timeline.timeline(session, own_case(session, reader, case_id), reader.user)
