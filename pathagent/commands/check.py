"""What a check of `pathagent doctor` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor: `missing` stops a run, `optional` only narrows what can be done."""

    name: str
    state: Literal["ok", "missing", "optional"]
    found: str
    fix: str = ""
