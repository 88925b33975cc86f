"""The fact score as one number over pairs of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pathagent_tools.core.scoring.report.compare import Counts, compare
from pathagent_tools.core.scoring.report.extract import extract
from pathagent_tools.core.scoring.score import Score

SIGNATURE: Final = "pathagent facts, vocabulary 1, F1 over all facts of all cases"


def fact_f1(hypotheses: Sequence[str | None], references: Sequence[str]) -> Score:
    """F1 of the facts that the texts state (0 to 1): all facts of all pairs counted together.

    An empty or missing hypothesis states none and stays in the denominator. ValueError where the lengths
    differ or no reference states a fact.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"needs one hypothesis a reference (got {len(hypotheses)}, {len(references)})")
    counts = [compare(extract(h or ""), extract(r)).all for h, r in zip(hypotheses, references, strict=True)]
    total = Counts(0, 0, 0)
    for count in counts:
        total = total.plus(count)
    if not total.wanted:
        raise ValueError("no reference states a fact: nothing could be right")
    return Score(
        name="fact_f1",
        value=total.f1,
        items=tuple(count.f1 for count in counts),
        signature=SIGNATURE,
        missing=sum(not (h or "").strip() for h in hypotheses),
    )
