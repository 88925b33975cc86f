"""What every scoring function returns."""

from __future__ import annotations

from pathagent_tools.core.geometry import Frozen


class Score(Frozen):
    """A score over cases, without statistics.

    value: over all cases, as the implementation defines it. items: one a case, in order; empty where a case
    has no score of its own (AUROC, calibration). signature: implementation, version and settings; two numbers
    compare only where it is the same. missing: answers that were empty, None or could not be read; abstained:
    answers that declined. Both are wrong and stay in the denominator.
    """

    name: str
    value: float
    items: tuple[float, ...] = ()
    signature: str
    missing: int = 0
    abstained: int = 0
