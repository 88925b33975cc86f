"""`/api/v1/me` and `settings`, and the doors: a one-time link, or a name and a password."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from pathagent.reading_room import pages
from pathagent.reading_room.access import TheReader, TheRoom
from pathagent.reading_room.room import Room
from pathagent.reading_room.sessions import COOKIE, DAYS
from pathagent.reading_room.tables import User
from pathagent.reading_room.users import check_password, enter_by_link
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

router = APIRouter(tags=["account"])
doors = APIRouter(include_in_schema=False)


@router.get("/me")
def me(reader: TheReader) -> dict[str, Any]:
    """Who is signed in, and the word that changes must carry in the header X-CSRF-Token."""
    return {"name": reader.user.name, "by": reader.by, "csrf": reader.csrf, "note": RESEARCH_USE_ONLY}


@router.get("/settings")
def settings(room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Which models stand behind each role, and where slides come from."""
    import pathagent

    return {
        "version": pathagent.__version__,
        "profile": room.models.profile.name,
        "domain": room.models.profile.domain,
        "roles": dict(room.models.described()),
        "folders": [f.name for f in room.library.folders],
        "knowledge": room.settings.knowledge.name if room.settings.knowledge else None,
        "cases": room.settings.cases.name if room.settings.cases else None,
        "uploads": room.settings.uploads is not None,
        "max_upload": room.settings.max_upload,
        "note": RESEARCH_USE_ONLY,
    }


@router.post("/sign-out", status_code=204)
def sign_out(reader: TheReader) -> Response:
    """Forget the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE)
    return answer


@doors.get("/enter")
def enter(request: Request, room: TheRoom, token: str = "") -> Response:
    """Come in by a one-time link."""
    with room.writing() as session:
        user = enter_by_link(session, token)
    if user is None:
        return pages.sign_in(
            request, "This link has been used or is too old. Start the server again for one."
        )
    return _let_in(room, request, user)


@doors.post("/sign-in")
async def sign_in(request: Request, room: TheRoom) -> Response:
    """Come in by name and password."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    name, password = form.get("name", [""])[0], form.get("password", [""])[0]
    if room.patience.exhausted(name):
        return pages.sign_in(request, "Too many wrong passwords for this name. Try again in half a minute.")
    user = await _checked(room, name, password)
    if user is None:
        room.patience.wrong(name)
        return pages.sign_in(request, "Name and password do not belong together.")
    return _let_in(room, request, user)


async def _checked(room: Room, name: str, password: str) -> User | None:
    from starlette.concurrency import run_in_threadpool

    def check() -> User | None:
        with room.database.reading() as session:
            return check_password(session, name, password)

    return await run_in_threadpool(check)


def _let_in(room: Room, request: Request, user: User) -> Response:
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE,
        room.sessions.cookie(user.id),
        max_age=DAYS * 86_400,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer
