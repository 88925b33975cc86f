"""One reading room: everything that its routes and its worker share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pathagent.reading_room import audit, comparing, uploads
from pathagent.reading_room.database import Database, sqlite_url
from pathagent.reading_room.library import Library
from pathagent.reading_room.models import Models
from pathagent.reading_room.naming import shortened
from pathagent.reading_room.sessions import Patience, Sessions
from pathagent.reading_room.settings import RoomSettings
from pathagent.reading_room.tables import EventRow, RunRow
from pathagent.reading_room.tiles import TileCache
from pathagent.runs import Work, cache_dir
from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from pathagent.reading_room.line import Line


class Room:
    """Settings, database, slides, models and the line of runs. Close it when done."""

    line: Line

    def __init__(self, settings: RoomSettings, models: Models | None = None) -> None:
        from pathagent.reading_room.line import Line

        try:
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(
                f"Cannot write {settings.data}: {error.strerror}. Choose another --data."
            ) from None
        self.settings, self.models = settings, models or Models(settings)
        comparing.check(settings, self.models)
        self.database = Database(settings.database or sqlite_url(settings.data))
        self._checkpoints = self.database.checkpoint_tables()
        self.sessions, self.patience = Sessions(settings.data), Patience()
        if settings.uploads is not None:
            uploads.clean(settings.uploads)
        more = () if settings.uploads is None else (settings.uploads,)
        self.library = Library(self.database, (*settings.folders, *more))
        self.tiles = TileCache()
        self.closing = False
        self._newest: dict[str, int] = {}
        self._newest_lock = threading.Lock()
        self.line = Line(self)

    def case_folder(self, case_id: str) -> Path:
        """Where the files of a case lie."""
        return self.settings.data / "cases" / case_id

    def work_of(self, run: RunRow) -> Work:
        """Where a run keeps what it is at: a folder, and the checkpoint there or in PostgreSQL."""
        return Work(self.case_folder(run.case_id) / "runs" / run.id, self._checkpoints)

    def told(self, text: str) -> str:
        """The text as a reader may hear it: slides by their names, the server's folders by their last."""
        given = (f for f in (self.settings.knowledge, self.settings.cases) if f is not None)
        folders = (self.settings.data, cache_dir(), *given, *self.library.folders)
        return shortened(self.library.told(text), folders)

    def add_event(self, session: Session, case_id: str, run_id: str, kind: str, body: dict[str, Any]) -> None:
        """Append an event; whoever follows the case is told once the session is committed."""
        row = EventRow(case_id=case_id, run_id=run_id, kind=kind, body=body)
        session.add(row)
        session.flush()
        session.info.setdefault("events", []).append((case_id, row.id))

    def set_state(self, session: Session, run: RunRow, state: str, reason: str = "") -> None:
        """Move a run to another state, and say so in its events."""
        run.state, run.reason = state, reason
        body = {"number": run.number, "state": state, "reason": reason}
        self.add_event(session, run.case_id, run.id, "run_state", body)

    def newest_event(self, case_id: str) -> int:
        """The id of the case's newest event, 0 where it has none."""
        with self._newest_lock:
            if case_id in self._newest:
                return self._newest[case_id]
        with self.database.reading() as session:
            newest = session.scalar(select(func.max(EventRow.id)).where(EventRow.case_id == case_id)) or 0
        self._tell(case_id, newest)
        return newest

    def _tell(self, case_id: str, event_id: int) -> None:
        with self._newest_lock:
            self._newest[case_id] = max(event_id, self._newest.get(case_id, 0))

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """`database.writing`, after which those who follow a case hear of its new events, and the newest
        link of the audit chain is kept beside the database."""
        with self.database.writing() as session:
            yield session
        if session.info.get("audited"):
            with self._newest_lock, self.database.reading() as reader:
                audit.keep_head(reader, self.settings.data)
        for case_id, event_id in session.info.get("events", ()):
            self._tell(case_id, event_id)

    def close(self) -> None:
        """Stop the line, close slides and database."""
        self.closing = True
        self.line.stop()
        self.library.close()
        self.database.close()
