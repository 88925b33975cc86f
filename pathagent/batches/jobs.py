"""The job table of a batch: one row a case in `OUT/batch.sqlite`, safe against a killed driver.

A batch in parts (`--shard 2/4`) has a table a part, so that no two machines write one file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pathagent.batches.case import CaseResult, Settings
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, held

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
  name TEXT PRIMARY KEY, digest TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, result TEXT);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Row(NamedTuple):
    """A case as the table has it. state: waiting, running, done, failed. attempts: times it was begun."""

    name: str
    digest: str
    state: str
    attempts: int
    result: CaseResult | None


class JobTable:
    """Reads and writes the table; every write is on disk when the call returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def begin(self, settings: Settings) -> None:
        """Keep the settings, or compare with those kept. UserError naming each that differs."""
        kept = dict(self._db.execute("SELECT name, value FROM settings").fetchall())
        now = {k: canonical_json(v) for k, v in ({"compare": None} | settings.deciding()).items()}
        differs = [f"{k} was {kept[k]}, is {now[k]}" for k in now if k in kept and kept[k] != now[k]]
        if differs:
            raise UserError(
                f"This folder holds a batch with other settings ({'; '.join(differs)}). "
                "Choose another folder with --out, or add --force to start over."
            )
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", now.items())

    def rows(self) -> dict[str, Row]:
        """All rows by case."""
        found = self._db.execute("SELECT name, digest, state, attempts, result FROM jobs").fetchall()
        parsed = (
            Row(name, digest, state, attempts, CaseResult.model_validate_json(result) if result else None)
            for name, digest, state, attempts, result in found
        )
        return {row.name: row for row in parsed}

    def add(self, jobs: Sequence[tuple[str, str]]) -> None:
        """(case, digest) of cases that wait; a row of the same case is replaced, its attempts kept."""
        with self._db:
            self._db.executemany(
                "INSERT INTO jobs VALUES (?, ?, 'waiting', 0, NULL) ON CONFLICT (name) DO UPDATE "
                "SET digest = excluded.digest, state = 'waiting', result = NULL",
                jobs,
            )

    def start(self, name: str) -> int:
        """The case is handed to a worker; returns how often it has been begun."""
        with self._db:
            self._db.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1 WHERE name = ?", (name,)
            )
        (attempts,) = self._db.execute("SELECT attempts FROM jobs WHERE name = ?", (name,)).fetchone()
        return int(attempts)

    def finish(self, result: CaseResult) -> None:
        """The case is done or has failed."""
        with self._db:
            self._db.execute(
                "UPDATE jobs SET state = ?, result = ? WHERE name = ?",
                (result.state, result.model_dump_json(), result.case),
            )

    def wait(self, name: str) -> None:
        """The case was begun, did not end, and waits again."""
        with self._db:
            self._db.execute("UPDATE jobs SET state = 'waiting' WHERE name = ?", (name,))


@contextmanager
def open_table(out: Path, shard: str | None = None) -> Iterator[JobTable]:
    """The table of a batch, or of its part, held by one driver at a time. UserError where another runs."""
    path = out / table_name(shard)
    busy = "Process {holder} runs this batch. Wait for it, or choose another --out."
    with held(path.with_suffix(".lock"), busy), closing(sqlite3.connect(path)) as connection:
        connection.executescript(_SCHEMA)
        yield JobTable(connection)


def table_name(shard: str | None) -> str:
    """`batch.sqlite`, or `batch-2-of-4.sqlite` for part 2/4."""
    return f"batch-{shard.replace('/', '-of-')}.sqlite" if shard else "batch.sqlite"


def all_rows(out: Path) -> dict[str, Row]:
    """Rows of every table in the folder, read only."""
    rows: dict[str, Row] = {}
    for path in sorted(out.glob("batch*.sqlite")):
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows |= JobTable(connection).rows()
    return rows
