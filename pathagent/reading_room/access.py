"""Who is asking: a reader with a cookie, or a program with a token. Everybody else is turned away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import Depends, HTTPException, Request
from sqlalchemy.orm import Session

from pathagent.reading_room import cases, opinions
from pathagent.reading_room.room import Room
from pathagent.reading_room.sessions import COOKIE
from pathagent.reading_room.tables import CaseRow, User
from pathagent.reading_room.users import user_of_token

CSRF_HEADER: Final = "x-csrf-token"
SAFE: Final = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who is asking, and how that is known."""

    user: User
    by: Literal["cookie", "token"]
    csrf: str = ""


def room_of(request: Request) -> Room:
    """The room of the server."""
    room: Room = request.app.state.room
    return room


def known_reader(request: Request) -> Reader | None:
    """The reader behind a request; None where nobody has signed in."""
    room = room_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        with room.database.reading() as session:
            user = user_of_token(session, secret.strip())
        return Reader(user, "token") if user else None
    cookie = request.cookies.get(COOKIE, "")
    user_id = room.sessions.user_id(cookie)
    if user_id is None:
        return None
    with room.database.reading() as session:
        user = session.get(User, user_id)
    return Reader(user, "cookie", room.sessions.csrf(cookie)) if user else None


def signed_in(request: Request) -> Reader:
    """The reader. 401 for strangers; 403 for a change that does not carry its session's word."""
    reader = known_reader(request)
    if reader is None:
        raise HTTPException(401, "Sign in first: open the link that the server printed.")
    if request.method not in SAFE and reader.by == "cookie":
        word = request.headers.get(CSRF_HEADER, "")
        if not room_of(request).sessions.csrf_holds(request.cookies[COOKIE], word):
            raise HTTPException(403, f"The header {CSRF_HEADER} is missing or not that of this session.")
    return reader


def person(reader: Annotated[Reader, Depends(signed_in)]) -> Reader:
    """A reader who has signed in on a page: a program's token decides no report."""
    if reader.by != "cookie":
        raise HTTPException(403, "A report is decided by a person who has signed in, not with a token.")
    return reader


TheRoom = Annotated[Room, Depends(room_of)]
TheReader = Annotated[Reader, Depends(signed_in)]
ThePerson = Annotated[Reader, Depends(person)]


def shown_case(session: Session, reader: Reader, case_id: str) -> CaseRow:
    """The reader's case, where what the machine thinks of it may be shown: 404 as `own_case`, and
    WithheldError in reader mode until the reader has committed an opinion."""
    row = own_case(session, reader, case_id)
    if opinions.withheld(session, row, reader.user):
        raise opinions.WithheldError(
            "Commit your opinion first: what the machine thinks is shown after that."
        )
    return row


def own_case(session: Session, reader: Reader, case_id: str) -> CaseRow:
    """The reader's case. 404 for what is absent and for what is another reader's."""
    row = cases.find_case(session, reader.user, case_id)
    if row is None:
        raise HTTPException(404, "There is no such case.")
    return row
