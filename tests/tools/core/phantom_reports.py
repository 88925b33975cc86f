"""Reference reports of made-up phantom truths in every wording, with the facts that they state."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random
from types import SimpleNamespace
from typing import NamedTuple

from pathagent_tools.core.scoring.report import Fact
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.phantom.findings import ARCHITECTURES
from pathagent_tools.phantom.reports import reference_report, wording_count
from pathagent_tools.phantom.true_facts import true_facts
from pathagent_tools.phantom.truth import Facts

NO_LESION = "no significant abnormality"


class Reference(NamedTuple):
    """A report text, the facts of its truth, and whether training never saw its wording."""

    text: str
    facts: frozenset[Fact]
    held_out: bool


def references(seed: int = 0) -> Iterator[Reference]:
    """One report for each diagnosis, grade and wording, the rest drawn."""
    rng = Random(seed)
    graded = [(family, grade) for family, grades in DIAGNOSES.items() for grade in grades]
    for (family, grade), wording in product(graded, range(wording_count())):
        inflamed = family == "chronic inflammation"
        plain = family in (NO_LESION, "chronic inflammation")
        facts = Facts(
            diagnosis=family,
            grade=grade,
            lesion="absent" if family == NO_LESION else "present",
            architecture=_architecture(family, grade),
            nuclear_grade="low" if plain else rng.choice(["low", "intermediate", "high"]),
            mitoses=rng.choice(["none", "few", "many"]),
            necrosis=rng.choice(["absent", "present"]),
            inflammation=grade if inflamed else rng.choice(["none", "mild", "marked"]),
        )
        truth = SimpleNamespace(facts=facts, lesion_mm2=rng.uniform(0.1, 5), pieces=rng.randint(1, 4))
        report = reference_report(truth, wording)  # type: ignore[arg-type]
        yield Reference(report["text"], true_facts(facts), report["held_out"])


def _architecture(family: str, grade: str) -> str:
    return "regular glands" if grade == "mild" else ARCHITECTURES.get(family, "regular glands")
