"""Lymphocytes, counted by a small trained network: how inflamed tissue is, as a density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Measurement
from pathagent_tools.encoders.scan import TileFeatures
from pathagent_tools.measure.cell_model import CellModel, Floats
from pathagent_tools.slides.slide import Slide

DENSITY: Final = "lymphocytes_per_mm2"
LEAST_TISSUE: Final = 0.15
"""A field counts as at least so much tissue."""
MOST_TILES: Final = 96
"""Tiles that are counted of a lesion, or of a slide."""
MARGIN_PX: Final = 32
"""Read around a tile, so that its border is counted like its middle."""


class LymphocyteCounter(CellModel):
    """Says how many lymphocytes to expect at each place of a field; it does not outline them."""

    what, command = "lymphocyte counter", "lymphocytes"
    embedded = Path(__file__).parent / "embedded-lymphocytes"

    def expected(self, fields: NDArray[np.uint8]) -> Floats:
        """[B, ⌈h / 4⌉, ⌈w / 4⌉] lymphocytes expected in each 4 × 4 px of fields [B, h, w, 3]."""
        return np.exp(self.logits(fields))

    def measure(self, rgb: Image, mpp: float, tissue: float = 1.0) -> Measurement:
        """The density over a field [h, w, 3] of which a share `tissue` (0..1) is tissue.

        UserError where the field is not at the counter's resolution, or smaller than 32 px.
        """
        self.check(rgb, mpp)
        mm2 = rgb.shape[0] * rgb.shape[1] * (mpp / 1000) ** 2 * max(tissue, LEAST_TISSUE)
        return Measurement(
            name=DENSITY,
            label="Lymphocytes per mm² of tissue",
            value=round(float(self.expected(rgb[None]).sum()) / mm2, -1),
            unit="/mm2",
            note=f"counted by {self.id} {self.revision[:8]}",
        )


@dataclass(frozen=True, slots=True)
class Density:
    """Lymphocytes per mm² of the `mm2` that were counted."""

    per_mm2: float
    mm2: float


def density_in(
    slide: Slide,
    scanned: TileFeatures,
    counter: LymphocyteCounter,
    cells: Mapping[int, Floats],
    *,
    most_tiles: int = MOST_TILES,
) -> Density | None:
    """The density over parts of scanned tiles; None where they are no area, or the slide is too coarse.

    cells: index of a tile → [n, n], the share (0..1) of each of its cells that belongs to the area. Of more
    than `most_tiles` tiles as many are counted, evenly spread. Lymphocytes count in cells with any share.
    """
    mpp = max(counter.config.mpp, slide.mpp)
    tiles = [index for index, share in sorted(cells.items()) if share.any()]
    if not tiles or not counter.reads(mpp):
        return None
    chosen = sorted({tiles[round(i)] for i in np.linspace(0, len(tiles) - 1, min(len(tiles), most_tiles))})
    tile_um = scanned.spec.tile_px * scanned.spec.mpp
    count = mm2 = 0.0
    for index in chosen:
        share = cells[index]
        expected = _expected(slide, scanned.region(index, slide.id), counter, mpp, len(share))
        count += float(expected[share > 0].sum())
        mm2 += float(share.sum()) * (tile_um / len(share) / 1000) ** 2
    return Density(count / mm2, mm2)


def _expected(slide: Slide, region: Region, counter: LymphocyteCounter, mpp: float, side: int) -> Floats:
    """[side, side]: lymphocytes expected in each cell of a region."""
    from pathagent_tools.measure.cell_net import STRIDE

    scale = mpp / slide.mpp
    around = round(MARGIN_PX * scale)
    wide = Region(
        slide=region.slide,
        x=region.x - around,
        y=region.y - around,
        width=region.width + 2 * around,
        height=region.height + 2 * around,
        mpp=mpp,
    )
    margin = MARGIN_PX // STRIDE
    places = counter.expected(slide.read(wide)[None])[0]
    places = places[margin : len(places) - margin, margin : places.shape[1] - margin]
    rows, columns = (np.arange(n) * side // n for n in places.shape)
    cells = np.zeros((side, side), np.float32)
    np.add.at(cells, (rows[:, None], columns[None, :]), places)
    return cells
