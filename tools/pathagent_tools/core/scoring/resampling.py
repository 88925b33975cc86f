"""Intervals and paired tests from resampling whole patients (or slides): cases of one are never parted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Frozen

ROUNDS: Final = 1000
FEWEST_CLUSTERS: Final = 30
"""Below this many patients no system is called better than another."""
ALPHA: Final = 0.05

Index = NDArray[np.int64]
Ratio = tuple[Sequence[float], Sequence[float]]
"""Numerator and denominator of each case: the score is the ratio of their sums."""
Verdict = Literal["better", "worse", "no difference shown", "too few patients to tell"]


class Estimate(Frozen):
    """A number with its 95 % interval, the cases behind it and their patients."""

    value: float
    low: float
    high: float
    n: int
    clusters: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


class Gain(Estimate):
    """A difference over the same cases, ours − theirs. `p`: two-sided, from swapping whole patients."""

    p: float

    @property
    def verdict(self) -> Verdict:
        """What may be said of it: nothing below `FEWEST_CLUSTERS`; else interval and test must agree."""
        if self.clusters < FEWEST_CLUSTERS:
            return "too few patients to tell"
        if self.p >= ALPHA or self.low <= 0 <= self.high:
            return "no difference shown"
        return "better" if self.value > 0 else "worse"


class Resampling:
    """The same draws of patients for every number of a table, so that numbers can be compared in pairs."""

    def __init__(self, clusters: Sequence[Hashable], *, seed: int = 0, rounds: int = ROUNDS) -> None:
        if not clusters:
            raise ValueError("resampling needs at least one case")
        names = list(dict.fromkeys(clusters))
        index = {name: i for i, name in enumerate(names)}
        self._of = np.asarray([index[c] for c in clusters])
        self.clusters, self.seed, self.rounds = len(names), seed, rounds
        self._draws = np.random.default_rng(seed).integers(0, self.clusters, (rounds, self.clusters))

    @property
    def method(self) -> str:
        """How the intervals were made, for the record."""
        return f"percentile bootstrap over {self.clusters} patients, {self.rounds} rounds, seed {self.seed}"

    def ratio(self, above: Sequence[float], below: Sequence[float]) -> Estimate:
        """sum(above) / sum(below) over cases; 0 where nothing is below."""
        return self._estimate(_total(above, below), self._ratios(above, below), len(above))

    def mean(self, values: Sequence[float]) -> Estimate:
        """Mean over cases."""
        return self.ratio(values, [1.0] * len(values))

    def statistic(self, score: Callable[[Index], float]) -> Estimate:
        """Any score of the cases with these indices (with repeats): balanced accuracy, kappa, AUROC …"""
        value = score(np.arange(len(self._of)))
        return self._estimate(value, np.asarray([score(i) for i in self._indices()]), len(self._of))

    def gain(self, ours: Ratio, theirs: Ratio) -> Gain:
        """Difference of two ratios over the same cases, in pairs."""
        draws = self._ratios(*ours) - self._ratios(*theirs)
        value = _total(*ours) - _total(*theirs)
        estimate = self._estimate(value, draws, len(ours[0]))
        return Gain(**estimate.model_dump(), p=self._swapped(ours, theirs, value))

    def mean_gain(self, ours: Sequence[float], theirs: Sequence[float]) -> Gain:
        """Difference of two means over the same cases, in pairs."""
        ones = [1.0] * len(ours)
        return self.gain((ours, ones), (theirs, ones))

    def _swapped(self, ours: Ratio, theirs: Ratio, observed: float) -> float:
        """p of a permutation test: which system is which is drawn for each patient anew."""
        a, b = (self._sums(part) for part in ours), (self._sums(part) for part in theirs)
        (a_top, a_bottom), (b_top, b_bottom) = tuple(a), tuple(b)
        swap = np.random.default_rng([self.seed, 1]).random((self.rounds, self.clusters)) < 0.5
        first = _divide(np.where(swap, b_top, a_top).sum(1), np.where(swap, b_bottom, a_bottom).sum(1))
        second = _divide(np.where(swap, a_top, b_top).sum(1), np.where(swap, a_bottom, b_bottom).sum(1))
        extreme = int((np.abs(first - second) >= abs(observed) - 1e-12).sum())
        return (1 + extreme) / (1 + self.rounds)

    def _estimate(self, value: float, draws: NDArray[np.float64], n: int) -> Estimate:
        low, high = np.quantile(draws, [0.025, 0.975])
        return Estimate(value=float(value), low=float(low), high=float(high), n=n, clusters=self.clusters)

    def _sums(self, values: Sequence[float]) -> NDArray[np.float64]:
        """[clusters] the sum over each patient's cases."""
        weights = np.asarray(values, float)
        return np.bincount(self._of, weights=weights, minlength=self.clusters).astype(np.float64)

    def _ratios(self, above: Sequence[float], below: Sequence[float]) -> NDArray[np.float64]:
        """[rounds] the ratio in every draw."""
        return _divide(self._sums(above)[self._draws].sum(1), self._sums(below)[self._draws].sum(1))

    def _indices(self) -> list[Index]:
        """For every draw the cases of its patients."""
        cases = [np.flatnonzero(self._of == c) for c in range(self.clusters)]
        return [np.concatenate([cases[c] for c in draw]) for draw in self._draws]


def bootstrap(values: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0) -> Estimate:
    """Mean of `values` with its interval, resampling whole clusters. ValueError where there are none."""
    return Resampling(clusters, seed=seed).mean(values)


def _total(above: Sequence[float], below: Sequence[float]) -> float:
    return float(_divide(np.sum(above, keepdims=True), np.sum(below, keepdims=True))[0])


def _divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros(len(above)), where=below != 0)
