"""How a reading room is set up, and the room itself: what every route may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import platformdirs
from pydantic import Field

from pathagent_tools.core.geometry import Frozen

DEFAULT_PORT: Final = 8860
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class RoomSettings(Frozen):
    """What `pathagent serve` was told.

    folders: where slides may come from, with all that lies below. data: cases, database and keys.
    knowledge, cases: folder of texts and case index that drafts are shown beside.
    """

    data: Path
    folders: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    uploads: Path | None = Field(default=None, description="where slides may be sent to; None: nowhere")
    max_upload: int = Field(default=20 << 30, description="bytes of the largest slide that is taken")
    names: tuple[str, ...] = Field(default=(), description="names under which readers reach this host")
    profile: str = "embedded"
    vlm_url: str | None = None
    vlm_model: str | None = None
    database: str | None = Field(default=None, description="URL; None: SQLite in the data folder")
    knowledge: Path | None = None
    cases: Path | None = None
    seed: int = 0

    @property
    def on_this_machine_only(self) -> bool:
        """Whether nobody on another machine can reach the server."""
        return self.host in LOOPBACK


def default_data() -> Path:
    """Where cases live unless told otherwise."""
    return Path(platformdirs.user_data_dir("pathagent"))
