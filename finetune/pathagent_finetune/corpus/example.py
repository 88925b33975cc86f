"""One training example: a request of `vlm.roles` and the answer it should get."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pathagent_tools.core.protocols import ModelRequest


@dataclass(frozen=True, slots=True)
class Example:
    """A request, its target, and the index of its tile (None for text-only roles)."""

    request: ModelRequest
    target: dict[str, Any]
    tile: int | None = None

    @property
    def target_text(self) -> str:
        """The exact text that the grammar lets a model write."""
        return json.dumps(self.target, ensure_ascii=False)
