"""The mitosis detector: which places of a field hold a figure.

Half of each batch are windows around a figure, half lie anywhere: lymphocytes, apoptotic bodies, debris
and crush are what it must not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from torch import Tensor

from pathagent_finetune.cell_train import CellRecipe, CellTask, Map, Points
from pathagent_finetune.loop import Metrics
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.measure.cell_net import STRIDE
from pathagent_tools.measure.mitoses import DetectorConfig, MitosisDetector, amount, peaks

REACH_UM: Final = 6.0
"""A peak counts as a figure whose centre is this near."""
THRESHOLDS: Final = tuple(round(float(t), 2) for t in np.arange(0.2, 0.96, 0.05))
FALSE_FIELDS: Final = 0.004


class MitosisRecipe(CellRecipe):
    """The recipe of the detector, with the scores from which a place is a figure."""

    shape: DetectorConfig


class Mitoses(CellTask):
    """Figures are rare: every second window lies around one, and the loss forgives what is near it."""

    recipe, model, cells, around = MitosisRecipe, MitosisDetector, "figures", 2
    metric = "figures within 6 µm; none, few or many in a field"

    def target(self, points: Points, px: int) -> Map:
        """[px / 4, px / 4]: 1 in the place of each figure, falling off over a place around it."""
        return heat_of(points, px)

    def learn(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Focal loss."""
        return focal_loss(logits, wanted)

    def evaluate(self) -> Metrics:
        """F1 of figures on validation fields at the threshold where it is largest.

        `certain` is the lowest threshold at which at most `FALSE_FIELDS` of those without figures have one.
        """
        store = self.stores["validation"]
        heat = [np.asarray(1 / (1 + np.exp(-found)), np.float32) for found in self.logits(store)]
        truth = [store.points(i, self.cells) for i in range(len(store))]
        by_threshold = {
            t: detection([peaks(h, t) for h in heat], truth, self.plan.shape.mpp) for t in THRESHOLDS
        }
        best = max(THRESHOLDS, key=lambda t: by_threshold[t]["f1"])
        empty = [h.max() for h, figures in zip(heat, truth, strict=True) if not len(figures)]
        sure = [t for t in THRESHOLDS if np.mean([top >= t for top in empty]) <= FALSE_FIELDS]
        found = {"score": by_threshold[best]["f1"], "threshold": best, "certain": min(sure, default=0.95)}
        return found | by_threshold[best]

    def config(self, metrics: Metrics) -> DetectorConfig:
        """The recipe's shape with the thresholds that were found."""
        shape = DetectorConfig.model_validate(self.plan.shape.model_dump())
        return shape.model_copy(update={key: metrics[key] for key in ("threshold", "certain")})

    @staticmethod
    def scores(model: MitosisDetector, store: TileStore, keep: Sequence[int]) -> dict[str, Any]:
        """Figures found, and the word of each field."""
        field_mm2 = (store.image(0).shape[0] * model.config.mpp / 1000) ** 2
        found = [model.find(np.array(store.image(i)), model.config.mpp) for i in keep]
        truth = [store.points(i, "figures") for i in keep]
        words = [amount(len(figures), field_mm2) for figures in truth]
        said = [amount(len(figures), field_mm2) for figures in found]
        return {
            **detection(found, truth, model.config.mpp),
            "word_balanced_accuracy": round(balanced_accuracy(words, said).value, 4),
            "word_chance": round(1 / 3, 4),
        }


def heat_of(points: Points, px: int) -> Map:
    """[px / 4, px / 4]: 1 in the place of each point (x, y) px, falling off over a place around it."""
    places = px // STRIDE
    heat = np.zeros((places, places), np.float32)
    rows, columns = np.mgrid[:places, :places]
    for x, y in points:
        cx, cy = (min(int(v // STRIDE), places - 1) for v in (x, y))
        near = np.exp(-((columns - cx) ** 2 + (rows - cy) ** 2) / 1.3)
        heat = np.maximum(heat, near)
    return heat.astype(np.float32)


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Cross-entropy of places that forgives what is near a centre and weighs what is hard, a figure.

    Source: Zhou et al. 2019, Objects as Points (arXiv:1904.07850), equation 1.
    """
    p = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    centre = heat >= 1
    hit = ((1 - p) ** 2 * p.log())[centre].sum()
    miss = ((1 - heat) ** 4 * p**2 * (1 - p).log())[~centre].sum()
    return -(hit + miss) / centre.sum().clamp(min=1)


def detection(found: Sequence[Points], truth: Sequence[Points], mpp: float) -> dict[str, float]:
    """Precision, recall and F1 of figures: each true one is found by at most one peak, nearest first."""
    right = said = wanted = 0
    for peaks_of_field, figures in zip(found, truth, strict=True):
        said, wanted = said + len(peaks_of_field), wanted + len(figures)
        right += _matched(peaks_of_field[:, :2], figures, REACH_UM / mpp)
    precision, recall = right / max(said, 1), right / max(wanted, 1)
    f1 = 2 * right / max(said + wanted, 1)
    return {
        "f1": round(f1, 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "figures": wanted,
    }


def _matched(found: Points, figures: Points, reach: float) -> int:
    from scipy.optimize import linear_sum_assignment

    if not len(found) or not len(figures):
        return 0
    apart = np.linalg.norm(found[:, None] - figures[None], axis=-1)
    rows, columns = linear_sum_assignment(np.minimum(apart, reach + 1))
    return int((apart[rows, columns] <= reach).sum())
