"""Whether what a claim says and what a look shows agree, held to the words in which the model named both.

The check names what is said and what is seen before its verdict. Where the two are the same, that is
support, whatever the verdict; where both are values of one slot and differ, it is none. Words outside the
vocabulary are left to the model's verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pathagent.agents.coverage import PLACES
from pathagent_tools.core.vocabulary import DIAGNOSES, SLOTS

_NAMED: Final = ("grade", "mitoses", "necrosis", "inflammation")
"""Slots whose values are written after the slot's word: `grade high`."""
_BARE: Final[dict[str, str]] = {
    **{value: slot for slot in ("tissue", "architecture") for value in SLOTS[slot] if value != "none"},
    **dict.fromkeys(DIAGNOSES, "diagnosis"),
    **dict.fromkeys(PLACES, "place"),
}
_SILENT: Final = ("none", "grade none", "no significant abnormality")
"""What a look shows that carries nothing of the kind: it neither supports nor contradicts."""


def verdict_of(data: Mapping[str, Any] | None) -> str:
    """`supported`, `contradicted` or `unsupported`; empty where the answer to `roles.verify` was unusable."""
    said, seen = (str((data or {}).get(key, "")).strip().casefold() for key in ("said", "seen"))
    parts = said.split(", ")
    if seen and seen in (said, *parts):
        return "supported"
    verdict = str((data or {}).get("verdict", ""))
    kind = _kind(seen)
    if verdict == "supported" and (seen in _SILENT or (kind and all(_kind(p) == kind for p in parts))):
        return "unsupported" if seen in _SILENT else "contradicted"
    return verdict


def _kind(words: str) -> str:
    """The slot of which words are a value; empty where they are none."""
    if words in _BARE:
        return _BARE[words]
    first, _, rest = words.partition(" ")
    if first in _NAMED and rest:
        return first
    topic, _, state = words.rpartition(" ")
    return topic if topic and state in ("present", "absent") else ""
