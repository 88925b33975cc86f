"""The database: SQLite in the data folder, or PostgreSQL by URL; migrated when it is opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from pathagent.checkpoint_tables import CheckpointTables

FILE_NAME: Final = "reading-room.sqlite"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Database:
    """Sessions on one database. `writing` sessions of a process come one after another."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._writer = threading.RLock()
        try:
            migrate(self.engine)
        except OperationalError as error:
            said = " ".join(str(error.orig).split())
            raise UserError(f"The database cannot be opened: {said}. Check --database and --data.") from None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that is not committed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is committed where the block ends well, and undone where it raises."""
        immediate = self.engine.execution_options(writes=True)
        with self._writer, Session(immediate, expire_on_commit=False) as session, session.begin():
            yield session

    def checkpoint_tables(self) -> CheckpointTables | None:
        """The tables for the checkpoints of runs at work, made where they are absent; None: SQLite, where
        they are files. UserError where the package is not installed."""
        if self.engine.dialect.name != "postgresql":
            return None
        try:
            from pathagent.checkpoint_tables import CheckpointTables
        except ModuleNotFoundError:
            self.close()
            raise UserError(
                "Checkpoints in PostgreSQL need the package langgraph-checkpoint-postgres. "
                "Type: uv sync --extra postgres"
            ) from None
        _, connect = self.engine.dialect.create_connect_args(self.engine.url)
        return CheckpointTables(**connect)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def sqlite_url(data: Path) -> str:
    """The URL of the database file of a data folder."""
    return f"sqlite:///{data / FILE_NAME}"


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest revision."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _engine(url: str) -> Engine:
    try:
        name = make_url(url)
        if name.drivername in ("postgres", "postgresql"):
            name = name.set(drivername="postgresql+psycopg")
        if name.get_backend_name() not in ("sqlite", "postgresql"):
            raise UserError(f"--database takes sqlite:///FILE or postgresql://…, not {name.drivername}://.")
        engine = create_engine(name, pool_pre_ping=name.get_backend_name() == "postgresql")
    except (ArgumentError, NoSuchModuleError):
        raise UserError(
            "--database is not a database URL. Type for example postgresql://user@host/name."
        ) from None
    except ModuleNotFoundError:
        raise UserError("PostgreSQL needs a driver. Type: uv sync --extra postgres") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says so
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=10000", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
