"""Where the tissue is: a coarse mask of the slide, its area and its pieces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.slides.background import Background, find_background, optical_density
from pathagent_tools.slides.pen import pen_mask
from pathagent_tools.slides.slide import Slide

MASK_UM: Final = 8.0
MASK_MAX_PX: Final = 2400
MIN_PIECE_MM2: Final = 0.02
_JOIN_UM = 40.0  # gaps below this do not part a piece (cracks, lumina open to the edge)
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Piece:
    """One connected piece of tissue: its box in level-0 px and its area."""

    x: int
    y: int
    width: int
    height: int
    area_mm2: float


@dataclass(frozen=True)
class Tissue:
    """Tissue of one slide. `mask[row, col]` covers the canvas; a mask px is `level0_per_px` level-0 px.

    `mask` leaves out pen marks, which are in `pen`. `background` is the colour of the empty slide.
    """

    mask: Mask
    pen: Mask
    level0_per_px: float
    um_per_px: float
    area_mm2: float
    pieces: tuple[Piece, ...]
    background: Background

    @cached_property
    def _tissue_sums(self) -> NDArray[np.int64]:
        return _integral(self.mask)

    @cached_property
    def _pen_sums(self) -> NDArray[np.int64]:
        return _integral(self.pen)

    def fractions(self, boxes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of tissue, 0..1, in each level-0 box (x, y, width, height): [N, 4] → [N]."""
        return self._shares(self._tissue_sums, boxes)

    def pen_fractions(self, boxes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of pen ink, 0..1, in each level-0 box (x, y, width, height): [N, 4] → [N]."""
        return self._shares(self._pen_sums, boxes)

    def pieces_at(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """[N] index in `pieces` of level-0 points [N, 2]: the smallest box around each; -1 where none is."""
        found = np.full(len(points), -1, np.intp)
        for i in sorted(range(len(self.pieces)), key=lambda i: -self.pieces[i].width * self.pieces[i].height):
            p = self.pieces[i]
            inside = (points >= (p.x, p.y)).all(1) & (points < (p.x + p.width, p.y + p.height)).all(1)
            found[inside] = i
        return found

    def _shares(self, s: NDArray[np.int64], boxes: NDArray[np.int64]) -> NDArray[np.float64]:
        height, width = self.mask.shape
        edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) / self.level0_per_px
        left, top = np.floor(edges[:, 0]).astype(int), np.floor(edges[:, 1]).astype(int)
        right = np.maximum(np.ceil(edges[:, 2]).astype(int), left + 1)
        bottom = np.maximum(np.ceil(edges[:, 3]).astype(int), top + 1)
        area = (right - left) * (bottom - top)
        x0, x1 = np.clip(left, 0, width), np.clip(right, 0, width)
        y0, y1 = np.clip(top, 0, height), np.clip(bottom, 0, height)
        return np.asarray((s[y1, x1] - s[y0, x1] - s[y1, x0] + s[y0, x0]) / area, dtype=np.float64)

    def fraction(self, region: Region) -> float:
        """Share of tissue, 0..1, in one region."""
        box = np.array([[region.x, region.y, region.width, region.height]], dtype=np.int64)
        return float(self.fractions(box)[0])


def _integral(mask: Mask) -> NDArray[np.int64]:
    return np.pad(mask, ((1, 0), (1, 0))).astype(np.int64).cumsum(0).cumsum(1)


def tissue_mask(slide: Slide) -> Tissue:
    """Find the tissue of a slide on an overview of about 8 µm per px (coarser on very large slides)."""
    longest_um = max(slide.width, slide.height) * slide.mpp
    rgb, per_px = slide.thumbnail(max(256, min(MASK_MAX_PX, round(longest_um / MASK_UM))))
    um = slide.mpp * per_px
    background = find_background(rgb)
    mask, pen = tissue_of_overview(rgb, um, background)
    return Tissue(
        mask=mask,
        pen=pen,
        level0_per_px=per_px,
        um_per_px=um,
        area_mm2=float(mask.sum()) * (um / 1000) ** 2,
        pieces=_pieces(mask, um, per_px),
        background=background,
    )


def tissue_of_overview(rgb: Image, um_per_px: float, background: Background) -> tuple[Mask, Mask]:
    """(tissue, pen) of an overview picture, both bool [h, w].

    Tissue is what is denser than the background by an automatic threshold held within narrow limits, so
    that pale tissue counts and an empty slide stays empty; specks of dust are dropped.
    """
    from scipy import ndimage

    if background.kind == "white":
        od = optical_density(rgb, background.rgb)
        strokes = ndimage.binary_opening(pen_mask(od))  # the dark rim of a bubble is a line, not a stroke
        pen = _grow(_without_specks(strokes, 0.01, um_per_px), 24 / um_per_px)
        density = ndimage.gaussian_filter(od.sum(-1), 6 / um_per_px)
        limits = (0.12, 0.32)
    else:
        pen = np.zeros(rgb.shape[:2], bool)
        contrast = np.abs(rgb.astype(np.float32) - np.array(background.rgb, np.float32)).sum(-1) / 255
        density = ndimage.gaussian_filter(contrast, 6 / um_per_px)
        limits = (0.05, 0.30)
    mask = (density > _threshold(density, limits)) & ~pen
    mask = ndimage.binary_opening(mask, iterations=1)
    mask = _fill_small_holes(_close(mask, 16 / um_per_px), 0.004, um_per_px) & ~pen
    return _without_specks(mask, MIN_PIECE_MM2 / 4, um_per_px), pen


def _threshold(density: NDArray[np.float32], limits: tuple[float, float]) -> float:
    from skimage.filters import threshold_otsu

    clipped = np.clip(density, 0, 1.0)
    if float(clipped.max() - clipped.min()) < 1e-3:
        return limits[1]
    return float(np.clip(0.6 * threshold_otsu(clipped), *limits))


def _disk(radius: float) -> Mask:
    r = max(1, round(radius))
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    return np.asarray(x * x + y * y <= r * r + 0.5)


def _grow(mask: Mask, radius: float) -> Mask:
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, _disk(radius))) if mask.any() else mask


def _close(mask: Mask, radius: float) -> Mask:
    """Closing by distance transform: cheap at any radius, and nothing is eaten at the border."""
    from scipy import ndimage

    if not mask.any():
        return mask
    r = max(1.0, radius)
    padded = np.pad(mask, int(r) + 2)
    grown = ndimage.distance_transform_edt(~padded) <= r
    closed = ndimage.distance_transform_edt(grown) > r
    inner = closed[int(r) + 2 : -int(r) - 2, int(r) + 2 : -int(r) - 2]
    return np.asarray(inner | mask)


def _without_specks(mask: Mask, min_mm2: float, um_per_px: float) -> Mask:
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 0:
        return mask
    keep = np.bincount(labels.ravel()) * (um_per_px / 1000) ** 2 >= min_mm2
    keep[0] = False
    return np.asarray(keep[labels])


def _fill_small_holes(mask: Mask, max_mm2: float, um_per_px: float) -> Mask:
    return ~_without_specks(~mask, max_mm2, um_per_px)


def _pieces(mask: Mask, um_per_px: float, level0_per_px: float) -> tuple[Piece, ...]:
    """Connected pieces above 0.02 mm², largest first."""
    from scipy import ndimage

    labels, _ = ndimage.label(_close(mask, _JOIN_UM / um_per_px), np.ones((3, 3)))
    areas = np.bincount(labels[mask], minlength=labels.max() + 1) * (um_per_px / 1000) ** 2
    pieces = []
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if areas[label] <= MIN_PIECE_MM2:
            continue
        rows, cols = box
        x, y, right, bottom = (
            round(v * level0_per_px) for v in (cols.start, rows.start, cols.stop, rows.stop)
        )
        pieces.append(Piece(x, y, right - x, bottom - y, float(areas[label])))
    return tuple(sorted(pieces, key=lambda p: -p.area_mm2))
