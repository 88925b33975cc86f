"""The line of runs: they wait here, one at a time goes on, and none depends on a browser.

A run that a killed or closed server left behind goes on from its checkpoint when the server starts again;
one that took the server down with it three times is given up.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from pathagent.reading_room.disk import is_full
from pathagent.reading_room.memory import give_back
from pathagent.reading_room.tables import EventRow, RunRow
from pathagent_tools.core.errors import ModelUnavailableError, PathAgentError

if TYPE_CHECKING:
    from pathagent.reading_room.room import Room

log = logging.getLogger(__name__)
ATTEMPTS: Final = 3
"""Starts after which a run that never ended is given up."""
WAITING_STATES: Final = ("queued", "deciding")
_IDLE_S: Final = 0.5
_CLOSE_S: Final = 20.0


class Line:
    """The thread that works on runs. `start` it once; `wake` it when there is new work."""

    def __init__(self, room: Room) -> None:
        from pathagent.reading_room.execution import Executor

        self._room, self._executor = room, Executor(room)
        self._wake, self._closing = threading.Event(), threading.Event()
        self._stopped: set[str] = set()
        self._owed: list[tuple[str, str, str]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Put runs that were cut off back into the line, and begin to work."""
        with self._room.writing() as session:
            for run in session.scalars(select(RunRow).where(RunRow.state == "running")):
                starts = select(func.count()).where(EventRow.run_id == run.id, EventRow.kind == "run_begun")
                if (session.scalar(starts) or 0) >= ATTEMPTS:
                    reason = f"The server ended {ATTEMPTS} times while it was at this. It is not tried again."
                    self._room.set_state(session, run, "failed", reason)
                else:
                    self._room.set_state(session, run, "queued", "the server was restarted")
        self._thread = threading.Thread(target=self._work, daemon=True, name="line of runs")
        self._thread.start()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def stop_run(self, run_id: str) -> None:
        """End a run after the step that it is at."""
        self._stopped.add(run_id)
        self._wake.set()

    def stop(self) -> None:
        """Let the run at work pause at its checkpoint, and end the thread."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        self._executor.close()

    def _work(self) -> None:
        self._load_models()
        while not self._closing.is_set():
            self._wake.clear()
            owed, self._owed = self._owed, []
            for end in owed:
                self._settle(*end)
            try:
                run_id = self._next()
            except SQLAlchemyError:
                log.exception("the database cannot be read")
                run_id = None
            if run_id is None:
                self._wake.wait(_IDLE_S)
            else:
                self._one(run_id)
                give_back()

    def _load_models(self) -> None:
        """Before anybody asks. What stands against it is said to the first who does."""
        try:
            self._room.models.warm()
        except PathAgentError as error:
            log.warning("the models cannot be loaded yet: %s", error)

    def _next(self) -> str | None:
        with self._room.database.reading() as session:
            query = select(RunRow.id, RunRow.state).where(RunRow.state.in_(WAITING_STATES))
            rows = session.execute(query.order_by(RunRow.state, RunRow.created)).all()
        return rows[0][0] if rows else None

    def _one(self, run_id: str) -> None:
        """Work on one run. Whatever goes wrong becomes its state and reason; the line goes on."""
        from pathagent.reading_room.execution import Stopped

        try:
            with self._room.writing() as session:
                run = session.get_one(RunRow, run_id)
                self._room.add_event(session, run.case_id, run.id, "run_begun", {"number": run.number})
            self._executor.execute(run_id, lambda: self._must_stop(run_id))
        except Stopped:
            if run_id in self._stopped:
                self._settle(run_id, "stopped", "stopped by its reader")
        except ModelUnavailableError as error:
            # What a caller of the command line would type next is said by a button here.
            plain = error.__cause__ if isinstance(error.__cause__, ModelUnavailableError) else error
            self._settle(run_id, "paused", str(plain))
        except PathAgentError as error:
            cause = error.__cause__
            self._settle(run_id, "failed", _sentence(cause) if is_full(cause) else str(error))
        except Exception as error:
            log.exception("run %s failed", run_id)
            self._settle(run_id, "failed", _sentence(error))
        self._stopped.discard(run_id)

    def _must_stop(self, run_id: str) -> bool:
        return self._closing.is_set() or run_id in self._stopped

    def _settle(self, run_id: str, state: str, reason: str) -> None:
        """Say how a run ended, later where that cannot be written now. A decision that could not be carried
        out leaves the draft waiting."""
        try:
            with self._room.writing() as session:
                run = session.get_one(RunRow, run_id)
                if run.state == "deciding" and state != "paused":
                    run.decision = None
                    state = "waiting"
                self._room.set_state(session, run, state, self._room.told(reason))
        except (SQLAlchemyError, OSError):
            log.exception("the end of run %s cannot be written yet", run_id)
            self._owed.append((run_id, state, reason))
            time.sleep(_IDLE_S)


def _sentence(error: BaseException | None) -> str:
    if is_full(error):
        return "The disk is full. Free some room, then start this again: it goes on where it stopped."
    if isinstance(error, OperationalError):
        reason = " ".join(str(error.orig).split())
        return f"The database failed: {reason}. Start this again: it goes on where it stopped."
    said = error.strerror if isinstance(error, OSError) else error
    return f"Internal error, our fault: {type(error).__name__}: {said}".splitlines()[0]
