"""The lymphocyte counter: how many lymphocytes to expect at each place of a field.

Densities are asked for, not outlines: the network learns the rate of a Poisson process, so what it says of
an area adds up to a count without a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pathagent_finetune.cell_train import CellTask, Map, Points
from pathagent_finetune.loop import Metrics
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.vocabulary import MARKED_PER_MM2, inflammation_of
from pathagent_tools.measure.cell_net import STRIDE
from pathagent_tools.measure.lymphocytes import LEAST_TISSUE, LymphocyteCounter

Densities = NDArray[np.float64]


class Lymphocytes(CellTask):
    """Windows lie anywhere: what is drawn more often would be expected more often."""

    model, cells = LymphocyteCounter, "lymphocytes"
    metric = "lymphocytes per mm² of tissue; none, mild or marked in a field"

    def target(self, points: Points, px: int) -> Map:
        """[px / 4, px / 4]: how many lymphocytes are centred in each place."""
        return counts_of(points, px)

    def learn(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Negative log-likelihood of Poisson counts whose log-rates are the logits."""
        return (logits.exp() - wanted * logits).mean()

    def evaluate(self) -> Metrics:
        """The word of each validation field by its density."""
        store = self.stores["validation"]
        said = np.array([np.exp(found).sum() for found in self.logits(store)])
        found = judged(said, store, range(len(store)), self.plan.shape.mpp)
        return {"score": found["word_balanced_accuracy"], **found}

    @staticmethod
    def scores(model: LymphocyteCounter, store: TileStore, keep: Sequence[int]) -> dict[str, Any]:
        """Density and word of each field."""
        said = np.array([model.expected(np.array(store.image(i))[None]).sum() for i in keep])
        return judged(said, store, keep, model.config.mpp)


def counts_of(points: Points, px: int) -> Map:
    """[px / 4, px / 4]: how many of the points (x, y) px lie in each place."""
    places = px // STRIDE
    bounds = ((0, px), (0, px))
    rows, columns = (points[:, 1], points[:, 0]) if len(points) else (np.empty(0), np.empty(0))
    return np.histogram2d(rows, columns, bins=places, range=bounds)[0].astype(np.float32)


def judged(counts: Densities, store: TileStore, keep: Sequence[int], mpp: float) -> dict[str, float]:
    """Counts of fields beside the true ones, per mm² of tissue, and the words that follow from both.

    `error_below_marked`: mean absolute error of fields that are truly below the limit of marked;
    `bias_below_marked`: mean error of the same.
    """
    field_mm2 = (store.image(0).shape[0] * mpp / 1000) ** 2
    background = np.array([store.truth[i]["fractions"]["background"] for i in keep])
    mm2 = field_mm2 * np.maximum(1 - background, LEAST_TISSUE)
    true = np.array([len(store.points(i, "lymphocytes")) for i in keep]) / mm2
    said = counts / mm2
    words = [store.findings(i).inflammation for i in keep]
    below = true < MARKED_PER_MM2
    return {
        "word_balanced_accuracy": round(
            balanced_accuracy(words, [inflammation_of(d) for d in said]).value, 4
        ),
        "word_chance": round(1 / 3, 4),
        "r2": round(float(1 - ((said - true) ** 2).mean() / true.var()), 4),
        "error_below_marked": round(float(np.abs(said - true)[below].mean()), 1),
        "bias_below_marked": round(float((said - true)[below].mean()), 1),
    }
