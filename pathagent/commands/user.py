"""`pathagent user`: who may sign in at the chat page, and tokens for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pathagent.commands.console import emit, say
from pathagent.commands.options import Data, DatabaseUrl
from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = typer.Typer(help="Users of the chat page.")
Name = Annotated[str, typer.Argument(help="Name to sign in with; not a patient's.")]


@app.command("add")
def add(
    name: Name,
    data: Data = None,
    database: DatabaseUrl = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Add a user with a password. With users, `pathagent serve --host` may open to other machines."""
    from pathagent.reading_room.users import add_user

    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with _opened(data, database) as session:
        add_user(session, name, password)
    say(f"{name} may sign in now.")


@app.command("link")
def link(name: Name = "local", data: Data = None, database: DatabaseUrl = None) -> None:
    """Print the path of a one-time link, to be put behind the address of the server."""
    with _opened(data, database) as session:
        emit(f"/enter?token={_issued(session, name, 'link')}")


@app.command("token")
def token(name: Name = "local", data: Data = None, database: DatabaseUrl = None) -> None:
    """Print a token for programs: they send it as `Authorization: Bearer TOKEN`."""
    with _opened(data, database) as session:
        emit(_issued(session, name, "token"))


def _issued(session: Session, name: str, kind: Literal["link", "token"]) -> str:
    from pathagent.reading_room.users import LOCAL_USER, find_user, issue, local_user

    user = local_user(session) if name == LOCAL_USER else find_user(session, name)
    if user is None:
        raise UserError(f"There is no user {name}. Type: pathagent user add {name}")
    return issue(session, user, kind)


@contextmanager
def _opened(data: Path | None, database: str | None) -> Iterator[Session]:
    """A writing session on the database of a data folder, which is made where it is absent."""
    from pathagent.reading_room.database import Database, sqlite_url
    from pathagent.reading_room.settings import default_data

    folder = (data or default_data()).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    opened = Database(database or sqlite_url(folder))
    try:
        with opened.writing() as session:
            yield session
    finally:
        opened.close()
