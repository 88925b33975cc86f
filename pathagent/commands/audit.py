"""`pathagent audit verify`: is the chat page's record of who did what as it was written?"""

from __future__ import annotations

import typer

from pathagent.commands.console import emit
from pathagent.commands.options import Data, DatabaseUrl, Json
from pathagent_tools.core.errors import UserError

app = typer.Typer(help="The audit chain of the chat page.")


@app.callback()
def _group() -> None:
    """The audit chain of the chat page."""


@app.command("verify")
def verify(data: Data = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """Check every link of the chain and every report version that it tells of; exit code 1: broken."""
    from pathagent.commands.console import emit_json
    from pathagent.reading_room.audit import faults, length
    from pathagent.reading_room.database import FILE_NAME, Database, sqlite_url
    from pathagent.reading_room.settings import default_data

    folder = (data or default_data()).expanduser().resolve()
    if database is None and not (folder / FILE_NAME).is_file():
        raise UserError(f"There is no {FILE_NAME} in {folder}. Give the folder of the server with --data.")
    opened = Database(database or sqlite_url(folder))
    with opened.reading() as session:
        found, (links, head) = list(faults(session, folder)), length(session)
    opened.close()
    if json:
        emit_json({"links": links, "head": head, "faults": found})
    else:
        for fault in found:
            emit(f"Broken: {fault}.")
        emit(f"{links} links, the newest {head}: {'NOT intact' if found else 'intact'}.")
    if found:
        raise typer.Exit(1)
