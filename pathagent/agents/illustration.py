"""Illustration: synthetic reference images, clearly marked, never evidence. None is made yet."""

from __future__ import annotations

from typing import Any

from pathagent.resources import Resources
from pathagent.state import State


def illustrate(resources: Resources, state: State) -> dict[str, Any]:
    """Passes: the place in the graph where a generator will be asked."""
    return {}
