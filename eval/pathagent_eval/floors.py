"""What a system gets that has not looked: every table prints these beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from pathagent_tools.core.scoring.report import Fact


def commonest_text(references: Sequence[str]) -> list[str]:
    """The commonest reference for every case; of several as common the first in order of the alphabet."""
    counted = Counter(" ".join(text.split()) for text in references)
    text = min(counted, key=lambda t: (-counted[t], t))
    return [text] * len(references)


def shuffled_texts(references: Sequence[str], patients: Sequence[str], *, seed: int = 0) -> list[str]:
    """For each case the reference of another patient's case, drawn; nothing where there is one patient."""
    rng = Random(f"shuffled-{seed}")
    out = []
    for patient in patients:
        others = [i for i, other in enumerate(patients) if other != patient]
        out.append(references[rng.choice(others)] if others else "")
    return out


def commonest_facts(wanted: Sequence[frozenset[Fact]]) -> frozenset[Fact]:
    """The one set of facts that, said of every case, gets the highest F1: the best answer without looking."""
    counted = Counter(fact for facts in wanted for fact in facts)
    total = sum(counted.values())
    best: tuple[float, int] = (0.0, 0)
    right = 0
    ranked = sorted(counted, key=lambda f: (-counted[f], f))
    for size, fact in enumerate(ranked, 1):
        right += counted[fact]
        best = max(best, (2 * right / (size * len(wanted) + total), size))
    return frozenset(ranked[: best[1]])
