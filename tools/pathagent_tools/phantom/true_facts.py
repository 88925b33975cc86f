"""The facts of a phantom in the words of the scorer: what a right report states, what a text states."""

from __future__ import annotations

from typing import Final

from pathagent_tools.core.scoring.report import Fact, extract
from pathagent_tools.phantom.truth import Facts

FACT_SLOTS: Final = (
    "diagnosis", "grade", "architecture", "nuclear_grade", "mitoses", "necrosis", "inflammation",
)  # fmt: skip
"""The slots of a report of which a phantom's truth knows the answer."""


def true_facts(facts: Facts) -> frozenset[Fact]:
    """The facts that a right report states in `FACT_SLOTS`.

    How marked a chronic inflammation is, is its inflammation and no grade: it counts once.
    """
    found = [
        Fact("diagnosis", facts.diagnosis),
        Fact("architecture", facts.architecture),
        Fact("nuclear_grade", "nuclear grade", facts.nuclear_grade),
        *(Fact(slot, slot, getattr(facts, slot)) for slot in ("mitoses", "necrosis", "inflammation")),
    ]
    if "dysplasia" in facts.grade:
        found.append(Fact("grade", "dysplasia", facts.grade.split("-")[0]))
    elif facts.grade.startswith("grade"):
        found.append(Fact("grade", "grade", facts.grade.split()[1]))
    return frozenset(found)


def stated_facts(text: str) -> frozenset[Fact]:
    """What a text states in `FACT_SLOTS`; that no tumour is seen follows from the diagnosis: left out."""
    return frozenset(
        f for f in extract(text) if f.slot in FACT_SLOTS and (f.slot, f.value) != ("diagnosis", "absent")
    )
