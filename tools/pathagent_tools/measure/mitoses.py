"""Mitotic figures of a field, found by a small trained detector."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Measurement
from pathagent_tools.measure.cell_model import CellConfig, CellModel, Floats

MANY_PER_MM2: Final = 2.5 / (0.192 * 0.192)
"""From three figures in a field of 192 µm on they are many."""
APART_UM: Final = 8.0
"""Figures nearer to each other than this are one."""


def amount(count: int, area_mm2: float) -> Literal["none", "few", "many"]:
    """The word for so many figures in a field of this area."""
    if count == 0:
        return "none"
    return "many" if count / area_mm2 >= MANY_PER_MM2 else "few"


class DetectorConfig(CellConfig):
    """The scores from which a place is a figure.

    threshold: where most figures are found and few false ones; certain: where hardly a field without figures
    has one, for whoever looks for the largest count among many fields.
    """

    threshold: float = Field(default=0.5, gt=0, lt=1)
    certain: float = Field(default=0.8, gt=0, lt=1)


class MitosisDetector(CellModel):
    """Finds mitotic figures."""

    what, command, shape = "mitosis detector", "mitoses", DetectorConfig
    embedded = Path(__file__).parent / "embedded-mitoses"

    def find(self, rgb: Image, mpp: float) -> Floats:
        """[k, 3]: (x, y) px in the field [h, w, 3] and score of each figure, best first.

        UserError where the field is not at the detector's resolution, or smaller than 32 px.
        """
        self.check(rgb, mpp)
        return peaks(self.scores(rgb[None])[0], self.config.threshold)

    def scores(self, fields: NDArray[np.uint8]) -> Floats:
        """[B, ⌈h / 4⌉, ⌈w / 4⌉] in 0..1 for fields [B, h, w, 3]: a figure is centred in this place."""
        return np.asarray(1 / (1 + np.exp(-self.logits(fields))), np.float32)

    def measure(self, rgb: Image, mpp: float) -> Measurement:
        """The count as a measurement of the field; `q05` is how many of them are certain."""
        found = self.find(rgb, mpp)
        n = len(found)
        return Measurement(
            name="mitotic_figures",
            label="Mitotic figures in the field",
            value=n,
            unit="1",
            q05=int((found[:, 2] >= self.config.certain).sum()),
            n=n,
            note=f"counted by {self.id} {self.revision[:8]}",
        )


def distinct(figures: Floats, nearer_than: float) -> Floats:
    """[k, 3] figures (x, y, score), best first, without those that lie at one that is kept already."""
    kept: list[int] = []
    order = np.argsort(-figures[:, 2], kind="stable")
    for i in order:
        apart = np.abs(figures[kept, :2] - figures[i, :2]).max(1) if kept else np.array([np.inf])
        if apart.min() >= nearer_than:
            kept.append(int(i))
    return np.asarray(figures[kept], np.float32)


def densest(figures: Floats, side: float) -> tuple[float, float, NDArray[np.bool_]] | None:
    """(x, y) of the centre of the square of `side` with most figures, and which of [k, 3] lie in it.

    Of squares with as many the one with the highest scores. None where there are no figures.
    """
    best: tuple[tuple[int, float], float, float, NDArray[np.bool_]] | None = None
    x, y, score = figures.T
    for left in x:
        across = (x >= left) & (x <= left + side)
        for top in y[across]:
            inside = across & (y >= top) & (y <= top + side)
            rank = (int(inside.sum()), float(score[inside].sum()))
            if best is None or rank > best[0]:
                middle = [(v[inside].min() + v[inside].max()) / 2 for v in (x, y)]
                best = (rank, float(middle[0]), float(middle[1]), inside)
    return None if best is None else best[1:]


def peaks(scores: Floats, threshold: float) -> Floats:
    """[k, 3]: centres (x, y) px and scores of the places [h, w] that no neighbour within two exceeds."""
    from scipy import ndimage

    from pathagent_tools.measure.cell_net import STRIDE

    top = (scores >= threshold) & (scores == ndimage.maximum_filter(scores, size=5))
    rows, columns = np.nonzero(top)
    found = np.stack([(columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE, scores[rows, columns]], axis=1)
    return np.asarray(found[np.argsort(-found[:, 2], kind="stable")], np.float32)
