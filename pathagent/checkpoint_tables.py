"""Checkpoints of runs in PostgreSQL, in the tables of `langgraph-checkpoint-postgres` (extra `postgres`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection, OperationalError
from psycopg.rows import DictRow, dict_row

from pathagent.runs import TellingSaver, serializer
from pathagent_tools.core.errors import UserError

_TABLES: Final = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


class TableSaver(TellingSaver, PostgresSaver):
    """The checkpointer of a run whose checkpoint lies in PostgreSQL."""


class CheckpointTables:
    """The checkpoints of all runs of one database. A run is named by whoever keeps it, by a random id.

    UserError from each method where the server is away, goes away meanwhile, or has a full disk.
    """

    def __init__(self, **connect: Any) -> None:
        """Make the tables where they are absent. connect: the arguments of psycopg's `connect`."""
        self._connect = connect
        with self._connection() as connection:
            PostgresSaver(connection).setup()

    @contextmanager
    def saver(self, on_saved: Callable[[str], None]) -> Iterator[TableSaver]:
        """A checkpointer with a connection of its own."""
        with self._connection() as connection:
            saver = TableSaver(connection, serde=serializer())
            saver.tell(on_saved)
            yield saver

    def thread(self, run: str, key: str) -> str:
        """LangGraph's name of the run: runs of equal cases have equal keys, and each its own checkpoint."""
        return f"{run}/{key}"

    def discard(self, run: str) -> None:
        """Delete what there is of a run, whichever keys it had."""
        with self._connection() as connection, connection.transaction():
            for table in _TABLES:
                connection.execute(f"DELETE FROM {table} WHERE thread_id LIKE %s", (f"{run}/%",))

    @contextmanager
    def _connection(self) -> Iterator[Connection[DictRow]]:
        """As the checkpointer demands it: what it writes is safe at once, and rows are dictionaries."""
        try:
            with Connection.connect(**self._connect, autocommit=True, row_factory=dict_row) as connection:
                yield connection
        except OperationalError as error:
            said = " ".join(str(error).split())
            raise UserError(
                f"The database failed: {said}. Start this again: it goes on where it stopped."
            ) from error
