"""Class-label scores with intervals: balanced accuracy, its majority floor, clustered bootstrap."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from pathagent_tools.core.geometry import Frozen


class Score(Frozen):
    """A number with its 95 % interval and what it was computed from."""

    value: float
    low: float
    high: float
    n: int
    clusters: int
    method: str

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


def balanced_accuracy(truth: Sequence[str], said: Sequence[str | None]) -> float:
    """Mean over the classes present in `truth` of the share of their items named rightly.

    An unparsed or missing answer (None) is wrong. Raises ValueError on empty input.
    """
    if not truth or len(truth) != len(said):
        raise ValueError(f"needs as many answers as truths, at least one (got {len(truth)}, {len(said)})")
    t = np.asarray(truth)
    right = np.asarray([a == b for a, b in zip(truth, said, strict=True)])
    return float(np.mean([right[t == label].mean() for label in np.unique(t)]))


def bootstrap(
    values: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0, rounds: int = 1000
) -> Score:
    """Mean of `values` with a percentile interval, resampling whole clusters (patients, slides)."""
    if not values:
        raise ValueError("bootstrap needs at least one value")
    names = list(dict.fromkeys(clusters))
    index = {name: i for i, name in enumerate(names)}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for value, cluster in zip(values, clusters, strict=True):
        sums[index[cluster]] += value
        counts[index[cluster]] += 1
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(names), (rounds, len(names)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(
        value=float(sums.sum() / counts.sum()),
        low=float(low),
        high=float(high),
        n=len(values),
        clusters=len(names),
        method=f"mean, cluster bootstrap {rounds}, seed {seed}",
    )
