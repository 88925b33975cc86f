"""Two sets of facts, slot by slot: what is right, what contradicts, what is missing, what is dangerous."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pathagent_tools.core.scoring.report.extract import SLOTS
from pathagent_tools.core.scoring.report.fact import Fact
from pathagent_tools.core.scoring.report.terms import BEHAVIOURS, behaviour_of

_CRITICAL_SLOTS: Final = ("laterality", "margin", "biomarker")
_NUMERIC: Final = re.compile(r"^\d+(\.\d+)?( %)?$")


class Counts(NamedTuple):
    """Facts of one slot: stated rightly, stated at all, and wanted by the reference."""

    right: int
    said: int
    wanted: int

    @property
    def precision(self) -> float:
        """Share of what is said that is right; 0 where nothing is said."""
        return self.right / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """Share of what is wanted that is said; 0 where nothing is wanted."""
        return self.right / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both: 2 right / (said + wanted)."""
        return 2 * self.right / (self.said + self.wanted) if self.said + self.wanted else 0.0

    def plus(self, other: Counts) -> Counts:
        """Both counts together."""
        return Counts(self.right + other.right, self.said + other.said, self.wanted + other.wanted)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the facts of a text stand to those of its reference; each error in words."""

    slots: dict[str, Counts]
    contradictions: tuple[str, ...]
    omissions: tuple[str, ...]
    additions: tuple[str, ...]
    numeric_errors: tuple[str, ...]
    critical_errors: tuple[str, ...]

    @property
    def all(self) -> Counts:
        """All slots together."""
        total = Counts(0, 0, 0)
        for counts in self.slots.values():
            total = total.plus(counts)
        return total


def compare(said: Iterable[Fact], wanted: Iterable[Fact]) -> Comparison:
    """Compare the facts of a text with those of its reference.

    A fact is right where slot, key and value agree. A key of which both speak with no value in common is a
    contradiction, and a numeric error where the values are numbers. A key that only the reference has is an
    omission, one that only the text has an addition. Of lengths, 10 % of difference count as the same.
    """
    wanted = frozenset(wanted)
    said = frozenset(_near(fact, wanted) for fact in said)
    ours, theirs = _by_key(said), _by_key(wanted)
    clashes = [key for key in ours if key in theirs and not ours[key] & theirs[key]]
    lines = {key: f"{_name(key)}: {_values(ours[key])}, not {_values(theirs[key])}" for key in clashes}
    numeric = [key for key in clashes if all(_NUMERIC.match(v) for v in ours[key] | theirs[key])]
    return Comparison(
        slots={slot: _count(slot, said, wanted) for slot in SLOTS},
        contradictions=tuple(sorted(lines.values())),
        omissions=tuple(sorted(f"{_name(k)}: {_values(theirs[k])}" for k in theirs if k not in ours)),
        additions=tuple(sorted(f"{_name(k)}: {_values(ours[k])}" for k in ours if k not in theirs)),
        numeric_errors=tuple(sorted(lines[key] for key in numeric)),
        critical_errors=tuple(sorted([*_critical(lines, ours), *_behaviour(said, wanted)])),
    )


def _count(slot: str, said: frozenset[Fact], wanted: frozenset[Fact]) -> Counts:
    ours, theirs = ({f for f in facts if f.slot == slot} for facts in (said, wanted))
    return Counts(len(ours & theirs), len(ours), len(theirs))


def _by_key(facts: frozenset[Fact]) -> dict[tuple[str, str], set[str]]:
    table: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        table.setdefault((fact.slot, fact.key), set()).add(fact.value)
    return table


def _near(fact: Fact, wanted: frozenset[Fact]) -> Fact:
    """A length as the reference gives it where both are within 10 %."""
    if fact.slot != "measurement" or not fact.key.endswith(" mm"):
        return fact
    for other in wanted:
        if other.slot == fact.slot and other.key == fact.key:
            ours, theirs = float(fact.value), float(other.value)
            if abs(ours - theirs) <= 0.1 * theirs:
                return other
    return fact


def _critical(lines: dict[tuple[str, str], str], ours: dict[tuple[str, str], set[str]]) -> list[str]:
    """Contradictions that would change what is done to the patient: side, margin, node and marker status."""
    found = [line for (slot, _), line in lines.items() if slot in _CRITICAL_SLOTS]
    found += [line for key, line in lines.items() if key == ("nodes", "status")]
    uncertain = [key for key in lines if ours[key] == {"uncertain"}]
    return [line for line in found if line not in {lines[key] for key in uncertain}]


def _behaviour(said: frozenset[Fact], wanted: frozenset[Fact]) -> list[str]:
    """Malignancy missed or invented, where both texts state what they think it is."""
    ours, theirs = _worst(said), _worst(wanted)
    if ours is None or theirs is None or (ours == "malignant") == (theirs == "malignant"):
        return []
    return [f"diagnosis: {ours}, not {theirs}"]


def _worst(facts: frozenset[Fact]) -> str | None:
    """The worst behaviour that is asserted; `normal` where a tumour is denied; None where nothing is said."""
    stated = [f for f in facts if f.slot == "diagnosis"]
    asserted = [behaviour_of(f.key) for f in stated if f.value == "present"]
    known = [b for b in asserted if b]
    if known:
        return max(known, key=BEHAVIOURS.index)
    return "normal" if any(f.value == "absent" for f in stated) else None


def _name(key: tuple[str, str]) -> str:
    slot, name = key
    return slot if slot == name else f"{slot} {name}"


def _values(values: set[str]) -> str:
    return " and ".join(sorted(values))
