"""What happens in a run, as it happens: typed events, streamed to the caller and kept in a file.

Events carry the times; the report carries none. `saved` is written once a node's result is safe in the
checkpoint, so a run that was killed can be shown to have redone nothing that was saved.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pathagent_tools.core.geometry import Frozen, Region


class NodeStarted(Frozen):
    """A node of the graph begins; `key` tells the branches of a fan-out apart."""

    kind: Literal["node_started"] = "node_started"
    node: str
    key: str
    task: str


class NodeFinished(Frozen):
    """A node has returned its result."""

    kind: Literal["node_finished"] = "node_finished"
    node: str
    key: str
    task: str
    seconds: float


class Saved(Frozen):
    """The result of a task is in the checkpoint."""

    kind: Literal["saved"] = "saved"
    task: str


class ToolCalled(Frozen):
    """A tool did something to a slide."""

    kind: Literal["tool_called"] = "tool_called"
    tool: str
    arguments: dict[str, Any]
    seconds: float
    result_sha256: str


class ModelAsked(Frozen):
    """The model was asked one question."""

    kind: Literal["model_asked"] = "model_asked"
    key: str
    role: str
    images: int
    prompt_sha256: str
    seconds: float
    tokens: int
    text: str
    error: str | None = None


class Looked(Frozen):
    """A region was looked at."""

    kind: Literal["looked"] = "looked"
    id: str
    region: Region
    line: str
    reason: str


class Believed(Frozen):
    """The belief after a round."""

    kind: Literal["believed"] = "believed"
    round: int
    leading: str
    probability: float
    sufficient: bool
    missing: str


class RunFinished(Frozen):
    """The run is over, or waits for a human."""

    kind: Literal["run_finished"] = "run_finished"
    run: str
    outcome: str
    text: str
    waiting_for_review: bool = False
    out: str | None = None


Event = Annotated[
    NodeStarted | NodeFinished | Saved | ToolCalled | ModelAsked | Looked | Believed | RunFinished,
    Field(discriminator="kind"),
]
_ANY: TypeAdapter[Event] = TypeAdapter(Event)


class EventLog:
    """Appends events to a JSON-lines file (`{"at": unix seconds, …}`) and hands them to `sink`.

    Thread-safe. A line that a kill has cut short is skipped when the file is read.
    """

    def __init__(self, path: Path | None = None, sink: Callable[[Event], None] | None = None) -> None:
        self.path, self.sink = path, sink
        self._lock = threading.Lock()
        if path is not None and path.is_file() and not path.read_bytes().endswith(b"\n"):
            with path.open("ab") as out:
                out.write(b"\n")

    def keep(self, event: Event) -> None:
        """Append the event to the file."""
        if self.path is None:
            return
        line = f'{{"at": {time.time():.3f}, {event.model_dump_json()[1:]}\n'
        with self._lock, self.path.open("a", encoding="utf-8") as out:
            out.write(line)

    def emit(self, event: Event) -> None:
        """Keep the event, then hand it on."""
        self.keep(event)
        if self.sink is not None:
            self.sink(event)


def read_events(path: Path) -> list[Event]:
    """The events of a file in order."""
    import json

    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        record.pop("at", None)
        events.append(_ANY.validate_python(record))
    return events


def digest_of(result: Any) -> str:
    """sha256 of a tool's result: of the bytes of arrays, of the JSON of records, else of its text."""
    if hasattr(result, "tobytes"):
        data = result.tobytes()
    elif hasattr(result, "model_dump_json"):
        data = result.model_dump_json().encode()
    elif isinstance(result, (list, tuple)):
        data = "".join(digest_of(item) for item in result).encode()
    else:
        data = repr(result).encode()
    return hashlib.sha256(data).hexdigest()
