"""What became of each slide: one JSON file a slide, replaced as a whole at every change."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pathagent.encoding.inputs import EncodeInput
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen

Status = Literal["not_started", "running", "completed", "skipped", "error"]


class SlideState(Frozen):
    """`status`: `skipped` is a slide whose features were imported. `reason`: why it failed, was skipped, or
    was computed anew. `key`: what the features depend on besides the slide's bytes. `bytes`, `modified_ns`:
    of the slide file when it was encoded.
    """

    slide: str
    name: str
    status: Status = "not_started"
    reason: str = ""
    kind: str = ""
    attempts: int = 0
    key: dict[str, Any] = Field(default_factory=dict)
    bytes: int = 0
    modified_ns: int = 0
    tiles: int = 0
    features: str = Field(default="", description="relative to the job's folder")
    seconds: float = 0.0
    updated: str = ""

    @property
    def ended_well(self) -> bool:
        """The features are there."""
        return self.status in ("completed", "skipped")


def read_state(out: Path, item: EncodeInput) -> SlideState:
    """The slide's state; `not_started` where there is none that can be read."""
    path = _path(out, item)
    try:
        return SlideState.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return SlideState(slide=item.path, name=item.name)


def write_state(out: Path, item: EncodeInput, state: SlideState) -> SlideState:
    """Write the state, stamped with the time; returns it so."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    stamped = state.model_copy(update={"updated": now})
    write_text_atomic(_path(out, item), stamped.model_dump_json(indent=1) + "\n")
    return stamped


def _path(out: Path, item: EncodeInput) -> Path:
    return out / "wsi_states" / f"{item.state_name}.json"
