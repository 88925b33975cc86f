"""Whether a stated probability is kept: expected calibration error over bins of equal mass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def expected_calibration_error(
    confidence: Sequence[float], right: Sequence[bool], *, bins: int = 10
) -> float:
    """Mean |stated probability − share right| over bins of equal mass, weighted by their items.

    confidence: [N] in 0..1. Items of one confidence are never split between bins, so the result does not
    depend on their order. Source: Nguyen & O'Connor 2015 (adaptive bins). ValueError on empty input.
    """
    if not confidence or len(confidence) != len(right):
        raise ValueError(f"needs as many confidences as outcomes, at least one ({len(confidence)})")
    p, hit = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    edges = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1])
    bin_of = np.searchsorted(edges, p, side="left")
    gaps = [
        (bin_of == b).sum() * abs(p[bin_of == b].mean() - hit[bin_of == b].mean()) for b in np.unique(bin_of)
    ]
    return float(np.sum(gaps) / len(p))
