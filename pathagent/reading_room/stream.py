"""The events of a case as they are appended: server-sent events that go on where a reader left off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import EventRow

AT_ONCE: Final = 500
_LOOK_S: Final = 0.15
_ALIVE_S: Final = 15.0


def events_after(
    room: Room,
    case_id: str,
    after: int,
    run_id: str | None = None,
    *,
    kinds: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """At most 500 events of a case (or of one run, or of some kinds), in order, after that one; `seq` is
    their number."""
    query = select(EventRow).where(EventRow.case_id == case_id, EventRow.id > after)
    if run_id is not None:
        query = query.where(EventRow.run_id == run_id)
    if kinds is not None:
        query = query.where(EventRow.kind.in_(kinds))
    with room.database.reading() as session:
        rows = session.scalars(query.order_by(EventRow.id).limit(AT_ONCE)).all()
    return [{**r.body, "seq": r.id, "run": r.run_id, "at": r.at, "kind": r.kind} for r in rows]


async def follow(
    room: Room, request: Request, case_id: str, after: int, *, kinds: Sequence[str] | None = None
) -> AsyncIterator[str]:
    """Server-sent events (all, or some kinds) until the reader goes away; a comment every 15 s keeps the
    line open."""
    yield "retry: 1000\n\n"
    quiet = 0.0
    while not room.closing and not await request.is_disconnected():
        if (newest := room.newest_event(case_id)) > after:
            found = await run_in_threadpool(events_after, room, case_id, after, kinds=kinds)
            last = found[-1]["seq"] if found else newest
            after, quiet = last if len(found) == AT_ONCE else max(last, newest), 0.0
            if found:
                yield "".join(f"id: {e['seq']}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n" for e in found)
            continue
        await asyncio.sleep(_LOOK_S)
        quiet += _LOOK_S
        if quiet >= _ALIVE_S:
            quiet = 0.0
            yield ": still here\n\n"


def last_event_id(request: Request, after: int) -> int:
    """Where to go on: the header that a browser sends when it connects again, else what was asked."""
    said = request.headers.get("last-event-id", "")
    return int(said) if said.isdecimal() else after
