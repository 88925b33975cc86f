"""The pages: written by the server, filled by small scripts over the API that anybody may use."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pathagent.reading_room import cases, comparing
from pathagent.reading_room.access import TheRoom, known_reader, room_of
from pathagent.reading_room.uploads import SUFFIXES
from pathagent.reading_room.users import has_users
from pathagent.report import words
from pathagent.rules.synoptic import SPECIMENS
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

router = APIRouter(include_in_schema=False)


@router.get("/")
def case_list(request: Request, room: TheRoom) -> Response:
    """The reader's cases, and the form for a new one."""
    return _page(request, "cases", specimens=SPECIMENS, suffixes=SUFFIXES)


@router.get("/settings")
def settings(request: Request, room: TheRoom) -> Response:
    """What stands behind each role."""
    roles = room.models.described()
    beside = comparing.described(room.settings)
    return _page(request, "settings", roles=roles, profile=room.models.profile, beside=beside)


@router.get("/cases/{case_id}")
def case(request: Request, case_id: str, room: TheRoom) -> Response:
    """One case: viewer, conversation, evidence, report."""
    reader = known_reader(request)
    if reader is None:
        return sign_in(request)
    with room.database.reading() as session:
        row = cases.find_case(session, reader.user, case_id)
        own = row is not None and row.owner_id == reader.user.id
        shareable = own and has_users(session)
    if row is None:
        raise HTTPException(404, "There is no such case.")
    said = {
        "headlines": words.HEADLINES,
        "sections": words.SECTIONS,
        "verdicts": words.VERDICTS,
        "slots": words.SLOT_LABELS,
    }
    return _page(request, "case", case=row, words=said, own=own, shareable=shareable)


def sign_in(request: Request, said: str = "") -> Response:
    """The page of a stranger."""
    return _render(request, "sign_in", 401 if said else 200, said=said)


def _page(request: Request, name: str, **values: Any) -> Response:
    reader = known_reader(request)
    if reader is None:
        return sign_in(request) if request.method == "GET" else RedirectResponse("/", 303)
    return _render(request, name, 200, reader=reader, **values)


def _render(request: Request, name: str, status: int, **values: Any) -> Response:
    room = room_of(request)
    common = {"note": RESEARCH_USE_ONLY, "room": room, "page": name}
    text: str = _environment().get_template(f"{name}.html.j2").render({"reader": None, **common, **values})
    return HTMLResponse(text, status_code=status)


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pathagent.reading_room"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # sections come in their order
    return environment


def problem(request: Request, status: int, text: str) -> Response:
    """A page that says what went wrong."""
    return _render(request, "problem", status, reader=known_reader(request), said=text)
