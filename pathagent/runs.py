"""The work of a run in progress: its identity, its folder, its lock, its checkpoint, its events.

`cache_dir()/runs/<run key>/` holds `case.json`, `checkpoint.sqlite` and `events.jsonl`. The key is made
of everything that decides the report, so the same call finds its own interrupted run and no other. A
server with PostgreSQL keeps the checkpoint there; the other two, which are written anew, stay files.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from pathagent import budget, state
from pathagent.resources import Resources
from pathagent_prompts import load, names
from pathagent_tools.core import compare, geometry, records, synthetic
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, held, sha256_bytes, write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.vlm.adapters import adapter_digests

if TYPE_CHECKING:
    from pathagent.checkpoint_tables import CheckpointTables

CASE_NAME: Final = "case.json"
STATE_VERSION: Final = 1
"""Changes when a checkpoint of an older version can no longer be continued."""
_UNFINISHED: Final = ("__error__", "__interrupt__", "__resume__")
"""Channels whose writes do not mean that a task has completed."""


class RunRecord(Frozen):
    """What is needed to open a run again: the case and the models that it was begun with."""

    case: state.Case
    profile: str
    vlm_url: str | None = None
    vlm_model: str | None = None
    out: str | None = None


def cache_dir() -> Path:
    """`$PATHAGENT_CACHE`, else the user's cache folder."""
    import platformdirs

    given = os.environ.get("PATHAGENT_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("pathagent"))


def run_folder(key: str) -> Path:
    """Where the run of that key keeps its work."""
    return cache_dir() / "runs" / key


def run_key(resources: Resources) -> str:
    """sha256 (first 32 hex digits) of all that decides the report. File paths do not; file bytes do."""
    case, vlm, encoder = resources.case, resources.vlm, resources.encoder
    decides = case.model_dump(mode="json", exclude={"slides", "mpp_csv", "compare"})
    identity = {
        "state_version": STATE_VERSION,
        "case": decides,
        "slides": [[s.id, s.digest, Path(s.path).name, resources.slide(s.id).slide.mpp] for s in case.slides],
        "profile": [resources.profile.name, resources.profile.domain],
        "vlm": [vlm.id, vlm.revision, adapter_digests(resources.profile.vlm.adapters)],
        "scales": [vlm.tile_px, vlm.tile_mpp, resources.profile.vlm.closer_mpp],
        "encoder": [encoder.id, encoder.revision],
        "prompts": {name: load(name).sha256 for name in names()},
    }
    if case.compare != state.CompareWith():
        identity["compare"] = [case.compare.knowledge_digest, case.compare.index_digest]
    return sha256_bytes(canonical_json(identity).encode())[:32]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run's folder; the lock dies with the process. UserError where another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = "The same run is in progress in process {holder}. Wait for it, or change --seed."
    with held(folder / "lock", busy):
        yield


def save_record(folder: Path, record: RunRecord) -> None:
    """Keep what `resume_review` needs."""
    write_text_atomic(folder / CASE_NAME, record.model_dump_json(indent=2) + "\n")


def load_record(folder: Path) -> RunRecord:
    """UserError where no such run waits."""
    path = folder / CASE_NAME
    if not path.is_file():
        raise UserError(f"No run waits in {folder}. Draft the report again with review='required'.")
    return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))


def allowed_types() -> list[tuple[str, str]]:
    """(module, name) of every record that a checkpoint may hold; nothing else is ever rebuilt."""
    found = []
    for module in (geometry, records, synthetic, compare, state, budget):
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, Frozen) and value.__module__ == module.__name__:
                found.append((module.__name__, name))
    return found


def serializer() -> JsonPlusSerializer:
    """What writes a state into a checkpoint, and rebuilds nothing but our records from it."""
    return JsonPlusSerializer(allowed_msgpack_modules=allowed_types())


class TellingSaver(BaseCheckpointSaver[str]):
    """Put before a checkpointer, tells `on_saved(task id)` once a completed task is safe in its store."""

    def tell(self, on_saved: Callable[[str], None]) -> None:
        """Whom to tell, once a task."""
        self._on_saved = on_saved
        self._told: set[str] = set()
        self._told_lock = threading.Lock()

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save, then tell."""
        super().put_writes(config, writes, task_id, task_path)
        if any(channel in _UNFINISHED for channel, _ in writes):
            return
        with self._told_lock:
            first = task_id not in self._told
            self._told.add(task_id)
        if first:
            self._on_saved(task_id)


class FileSaver(TellingSaver, SqliteSaver):
    """The checkpointer of a run whose checkpoint is a file."""


@contextmanager
def open_file(folder: Path, on_saved: Callable[[str], None]) -> Iterator[FileSaver]:
    """The checkpoint file of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = FileSaver(connection, serde=serializer())
        saver.tell(on_saved)
        yield saver


@dataclass(frozen=True)
class Work:
    """Where a run keeps what it is at: a folder of its own, and its checkpoint in it or in `tables`."""

    folder: Path
    tables: CheckpointTables | None = None

    def saver(self, on_saved: Callable[[str], None]) -> AbstractContextManager[TellingSaver]:
        """The run's checkpointer, open."""
        return self.tables.saver(on_saved) if self.tables else open_file(self.folder, on_saved)

    def thread(self, key: str) -> str:
        """LangGraph's name of a run with that key: in tables that runs share, after the run's folder."""
        return self.tables.thread(self.folder.name, key) if self.tables else key

    def discard(self) -> None:
        """Remove the work of a run that is finished, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.tables:
            self.tables.discard(self.folder.name)
