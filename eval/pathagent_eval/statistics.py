"""Ratios over cases with intervals from resampling whole patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Frozen

ROUNDS = 1000
FEWEST_CLUSTERS = 30
"""Below this many patients no system is called better than another."""


class Estimate(Frozen):
    """A number with its 95 % interval, the cases behind it and their patients."""

    value: float
    low: float
    high: float
    n: int
    clusters: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


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
        draws = self._ratios(above, below)
        low, high = np.quantile(draws, [0.025, 0.975])
        value = _divide(np.sum(above, keepdims=True), np.sum(below, keepdims=True))[0]
        return Estimate(
            value=float(value), low=float(low), high=float(high), n=len(above), clusters=self.clusters
        )

    def mean(self, values: Sequence[float]) -> Estimate:
        """Mean over cases."""
        return self.ratio(values, [1.0] * len(values))

    def gain(
        self, ours: tuple[Sequence[float], Sequence[float]], theirs: tuple[Sequence[float], Sequence[float]]
    ) -> Estimate:
        """Difference of two ratios over the same cases, in pairs."""
        differences = self._ratios(*ours) - self._ratios(*theirs)
        low, high = np.quantile(differences, [0.025, 0.975])
        value = self.ratio(*ours).value - self.ratio(*theirs).value
        return Estimate(value=value, low=float(low), high=float(high), n=len(ours[0]), clusters=self.clusters)

    def _ratios(self, above: Sequence[float], below: Sequence[float]) -> NDArray[np.float64]:
        """[rounds] the ratio in every draw."""
        tops, bottoms = (
            np.bincount(self._of, weights=np.asarray(v, float), minlength=self.clusters)
            for v in (above, below)
        )
        return _divide(tops[self._draws].sum(1), bottoms[self._draws].sum(1))


def _divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros(len(above)), where=below != 0)
