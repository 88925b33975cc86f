"""The vocabulary of `terms.yaml`, and where its terms stand in a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

BEHAVIOURS = ("normal", "benign", "premalignant", "in situ", "malignant")
"""From harmless to worst."""


@dataclass(frozen=True, slots=True)
class Term:
    """A key of a slot, as it may be written. `behaviour` is a diagnosis' one, else empty."""

    key: str
    pattern: re.Pattern[str]
    behaviour: str = ""


@cache
def vocabulary() -> dict[str, tuple[Term, ...]]:
    """Slot → its terms. ValueError where a diagnosis has no known behaviour."""
    import yaml

    text = files("pathagent_tools.core.scoring.report").joinpath("terms.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    slots = {slot: tuple(_terms(slot, keys)) for slot, keys in table.items() if isinstance(keys, dict)}
    unknown = [t.key for t in slots["diagnosis"] if t.behaviour not in BEHAVIOURS]
    if unknown:
        raise ValueError(f"terms.yaml: no behaviour for {', '.join(unknown)}")
    return slots


@cache
def behaviour_of(diagnosis: str) -> str:
    """`malignant`, …; empty for what is no diagnosis of the vocabulary."""
    return next((t.behaviour for t in vocabulary()["diagnosis"] if t.key == diagnosis), "")


def _terms(slot: str, keys: dict[str, list[str]]) -> Iterator[Term]:
    for key, patterns in keys.items():
        behaviour, written = (patterns[0], patterns[1:]) if slot == "diagnosis" else ("", patterns)
        joined = "|".join(f"(?:{p})" for p in written)
        yield Term(key, re.compile(rf"(?<![\w-])(?:{joined})(?!\w)", re.IGNORECASE), behaviour)


@dataclass(frozen=True, slots=True)
class Hit:
    """A term at `start:end` of a text."""

    key: str
    start: int
    end: int


def longest_hits(slot: str, text: str) -> list[Hit]:
    """Terms of a slot in order of position; of those that overlap the longest alone."""
    hits = [Hit(t.key, m.start(), m.end()) for t in vocabulary()[slot] for m in t.pattern.finditer(text)]
    taken: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.start - h.end, h.start)):
        if all(hit.end <= other.start or hit.start >= other.end for other in taken):
            taken.append(hit)
    return sorted(taken, key=lambda h: h.start)
