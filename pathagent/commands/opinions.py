"""`pathagent opinions`: what readers committed in reader mode, beside the machine's first draft."""

from __future__ import annotations

import sys
from typing import Final

from pathagent.commands.options import Data, DatabaseUrl, Json
from pathagent_tools.core.errors import UserError

NONE: Final = "No case of this server was read in reader mode yet."


def opinions(data: Data = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """Print the table of reader mode as CSV: reader, time, opinion, the machine's, and whether they agree."""
    from sqlalchemy import select

    from pathagent.commands.console import emit_json, say
    from pathagent.reading_room.database import FILE_NAME, Database, sqlite_url
    from pathagent.reading_room.opinions import as_csv, table
    from pathagent.reading_room.settings import default_data
    from pathagent.reading_room.tables import CaseRow

    folder = (data or default_data()).expanduser().resolve()
    if database is None and not (folder / FILE_NAME).is_file():
        raise UserError(f"There is no {FILE_NAME} in {folder}. Give the folder of the server with --data.")
    opened = Database(database or sqlite_url(folder))
    with opened.reading() as session:
        found = table(session, session.scalars(select(CaseRow).order_by(CaseRow.created)).all())
    opened.close()
    if json:
        emit_json(found)
    else:
        sys.stdout.write(as_csv(found))
    if not found:
        say(NONE)
