"""How large a lesion is: the tissue map of the encoder, read outwards from the looks that show it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.scan import TileFeatures, read_tiles
from pathagent_tools.encoders.tissue_map import tissue_shares
from pathagent_tools.slides.slide import Slide

MOST_TILES: Final = 2000
"""A lesion that goes on beyond so many tiles is measured no further."""
GOES_ON: Final = 0.05
"""Share of lesion in a tile above which its neighbours are read too."""
SMOOTH_UM: Final = 24.0
THRESHOLD: Final = 0.3
"""Share of lesion in a cell from which it counts."""
INFILTRATED: Final = 0.14
"""The same of a tumour that grows between what was there: cells at its edge are little of it."""
SHARP: Final = (0.3, 0.1)
"""Shares at which a lesion is drawn once more, to see how sharp its edge is."""
LEAST_SHARP: Final = 0.85
"""Smaller diameter ÷ larger of the two, below which one size would say more than the map does."""
CLOSE_UM: Final = 112.0
"""Gaps of stroma narrower than twice this lie within a lesion."""
Grid = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extent:
    """The largest focus under a look. `whole`: False where the lesion goes on beyond what was read.

    area_mm2: by the share that its tissues count from. least_mm2, most_mm2: by the shares of `SHARP`.
    cells: index of a scanned tile → [n, n] of 1 where the focus lies, else 0.
    """

    area_mm2: float
    whole: bool
    least_mm2: float
    most_mm2: float
    cells: Mapping[int, NDArray[np.float32]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def diameter_mm(self) -> float:
        """Diameter of the circle of the same area."""
        return _diameter(self.area_mm2)

    @property
    def range_mm(self) -> tuple[float, float]:
        """(least, most) diameter, by how much of the map is counted."""
        return _diameter(self.least_mm2), _diameter(self.most_mm2)

    @property
    def sharp(self) -> bool:
        """Whether the map gives the lesion an edge."""
        least, most = self.range_mm
        return least >= LEAST_SHARP * most


def _diameter(area_mm2: float) -> float:
    return 2 * math.sqrt(area_mm2 / math.pi)


def lesion_extent(
    slide: Slide,
    scanned: TileFeatures,
    encoder: SlideEncoder,
    tissues: Sequence[str],
    looks: Sequence[Region],
    *,
    most_tiles: int = MOST_TILES,
) -> Extent | None:
    """The largest connected area of `tissues` that a look lies on; None where no look does.

    scanned: the question-free scan, whose grid is read. looks: regions in level-0 px. Memory is bounded by
    `most_tiles`. UserError where the encoder has no tissue map.
    """
    places = {_place(scanned, i): i for i in range(len(scanned))}
    shares: dict[Grid, NDArray[np.float32]] = {}
    frontier = [place for place, i in places.items() if _touches(scanned.region(i, slide.id), looks)]
    while frontier and len(shares) < most_tiles:
        chosen = frontier[: most_tiles - len(shares)]
        regions = [scanned.region(places[place], slide.id) for place in chosen]
        names, found = tissue_shares(encoder, read_tiles(slide, regions, encoder.tile_px))
        lesion = found[..., [i for i, name in enumerate(names) if name in tissues]].sum(-1)
        shares.update(zip(chosen, lesion, strict=True))
        grown = {n for place in chosen if shares[place].mean() > GOES_ON for n in _neighbours(place)}
        frontier = sorted((grown & places.keys()) - shares.keys()) + frontier[len(chosen) :]
    if not shares:
        return None
    infiltrates = "invasive tumour" in tissues and "mucin" not in tissues
    levels = (INFILTRATED if infiltrates else THRESHOLD, *SHARP)
    drawn, least, most = (_largest(shares, scanned, looks, level) for level in levels)
    if not drawn[0]:
        return None
    cell_mm2 = (_cell_um(shares, scanned) / 1000) ** 2
    cells = {places[place]: mask for place, mask in drawn[1].items()}
    return Extent(drawn[0] * cell_mm2, not frontier, least[0] * cell_mm2, most[0] * cell_mm2, cells)


def _cell_um(shares: Mapping[Grid, NDArray[np.float32]], scanned: TileFeatures) -> float:
    return scanned.spec.tile_px * scanned.spec.mpp / len(next(iter(shares.values())))


def _place(scanned: TileFeatures, index: int) -> Grid:
    """Column and row of a tile in the scan's grid."""
    left, top = scanned.coords.min(0)
    x, y = scanned.coords[index]
    return round((x - left) / scanned.size_level0), round((y - top) / scanned.size_level0)


def _touches(region: Region, looks: Sequence[Region]) -> bool:
    return any(region.overlap(look) > 0 for look in looks)


def _neighbours(place: Grid) -> Iterator[Grid]:
    return ((place[0] + i, place[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)


def _largest(
    shares: dict[Grid, NDArray[np.float32]], scanned: TileFeatures, looks: Sequence[Region], level: float
) -> tuple[int, dict[Grid, NDArray[np.float32]]]:
    """The largest focus under a look, drawn on a canvas of the tiles that were read: how many cells it has,
    and its part of each tile. No cells where there is no focus.

    level: share of lesion in a cell from which it counts.
    """
    from scipy import ndimage

    side = next(iter(shares.values())).shape[0]
    cell_um = _cell_um(shares, scanned)
    margin = math.ceil(CLOSE_UM / cell_um) + 1
    low = np.array(list(shares)).min(0)
    across, down = np.array(list(shares)).max(0) - low + 1
    canvas = np.zeros((down * side + 2 * margin, across * side + 2 * margin), np.float32)
    corners = {place: (np.array(place) - low) * side + margin for place in shares}
    for place, (column, row) in corners.items():
        canvas[row : row + side, column : column + side] = shares[place]
    solid = ndimage.gaussian_filter(canvas, SMOOTH_UM / cell_um) > level
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(solid, _disc(CLOSE_UM / cell_um)))
    labels, _ = ndimage.label(solid)
    origin = scanned.coords.min(0) + low * scanned.size_level0
    seen = {int(k) for look in looks for k in np.unique(_under(look, labels, origin, scanned, side, margin))}
    sizes = {k: int((labels == k).sum()) for k in seen - {0}}
    if not sizes:
        return 0, {}
    largest = max(sorted(sizes), key=lambda k: sizes[k])
    focus = (labels == largest).astype(np.float32)
    parts = {place: focus[y : y + side, x : x + side] for place, (x, y) in corners.items()}
    return sizes[largest], parts


def _under(
    look: Region,
    labels: NDArray[Any],
    origin: NDArray[Any],
    scanned: TileFeatures,
    side: int,
    margin: int,
) -> NDArray[Any]:
    """The labels under a look."""
    cells = side / scanned.size_level0
    x0, y0 = (np.array([look.x, look.y]) - origin) * cells + margin
    x1, y1 = x0 + look.width * cells, y0 + look.height * cells
    rows, columns = (
        slice(max(0, int(y0)), max(0, math.ceil(y1))),
        slice(max(0, int(x0)), max(0, math.ceil(x1))),
    )
    return labels[rows, columns]


def _disc(radius: float) -> NDArray[np.bool_]:
    reach = int(radius)
    i, j = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(i * i + j * j <= radius * radius + 0.5)
