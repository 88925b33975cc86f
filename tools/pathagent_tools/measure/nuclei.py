"""Find nuclei by their haematoxylin, and measure each of them in µm. No weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Image
from pathagent_tools.measure.stain import StainMatrix, separate
from pathagent_tools.slides.background import Floats
from pathagent_tools.slides.resolution import NUCLEAR_MPP_LIMIT

MIN_AREA_UM2: Final = 8.0
MAX_AREA_UM2: Final = 500.0
_SMOOTH_UM = 0.5
_LOCAL_UM = 10.0
_SEED_UM = 2.2  # half the distance below which two peaks are one nucleus
_MIDDLE_UM2 = 100.0


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei of one field. `labels` int32 [h, w], 0 = none; the other arrays have one entry per nucleus.

    xy_px: centre (x, y) in field px. area_um2. eccentricity 0..1 of the ellipse with the same moments.
    haematoxylin: mean amount over the nucleus.
    """

    labels: NDArray[np.int32]
    xy_px: Floats
    area_um2: Floats
    eccentricity: Floats
    haematoxylin: Floats

    def __len__(self) -> int:
        return len(self.area_um2)


def detect_nuclei(rgb: Image, mpp: float, stain: StainMatrix) -> Nuclei:
    """Nuclei of an RGB field [h, w, 3] at `mpp` µm per px.

    Haematoxylin above a threshold that follows the slide and the neighbourhood, touching nuclei parted by
    a watershed on the distance to the edge. Raises UserError above 1 µm per px.
    """
    if mpp > 1.02 * NUCLEAR_MPP_LIMIT:
        raise UserError(
            f"Nuclei cannot be measured at {mpp:.3g} µm per px: "
            f"ask for mpp ≤ {NUCLEAR_MPP_LIMIT:g} (0.5 is best), or use a slide scanned finer."
        )
    haematoxylin, _ = separate(rgb, stain)
    mask = _nuclear_mask(haematoxylin, mpp, stain.nuclear_threshold)
    return _table(_split(mask, mpp), haematoxylin, mpp)


def _nuclear_mask(haematoxylin: Floats, mpp: float, threshold: float) -> NDArray[np.bool_]:
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(haematoxylin, _SMOOTH_UM / mpp)
    around = ndimage.uniform_filter(smooth, 2 * round(_LOCAL_UM / mpp) + 1)
    level = np.clip(0.5 * threshold + 0.6 * around, 0.75 * threshold, 1.6 * threshold)
    dark = smooth > level
    middle = _holes(dark, mpp)
    mask = ndimage.binary_opening(dark | middle, iterations=max(1, round(0.5 / mpp)))
    inner = _half_height(np.asarray(mask), middle, smooth, mpp)
    return inner | _holes(inner, mpp)


def _holes(mask: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Holes of a mask no larger than the pale middle of a vesicular nucleus, whose rim alone is dark.

    Also what the edge of the field cuts off from such a nucleus.
    """
    from scipy import ndimage

    parts, _ = ndimage.label(~mask)
    small = np.bincount(parts.ravel()) * mpp**2 <= _MIDDLE_UM2
    small[0] = False
    return np.asarray(small[parts])


def _half_height(
    mask: NDArray[np.bool_], middle: NDArray[np.bool_], smooth: Floats, mpp: float
) -> NDArray[np.bool_]:
    """Pull each outline in to half the height between the nucleus and its surroundings; `middle` stays.

    A low threshold finds pale nuclei but draws dark ones too large; half height is where a blurred edge is.
    """
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    dark = labels * ~middle
    sizes = np.bincount(dark.ravel(), minlength=count + 1)
    core = np.bincount(dark.ravel(), smooth.ravel(), minlength=count + 1) / np.maximum(sizes, 1)
    side = 2 * round(_LOCAL_UM / mpp) + 1
    outside = ndimage.uniform_filter((~mask).astype(np.float32), side) + 1e-3
    ground = ndimage.uniform_filter(np.where(mask, 0, smooth), side) / outside
    return np.asarray(mask & (middle | (smooth > 0.5 * (core[labels] + ground))))


def _split(mask: NDArray[np.bool_], mpp: float) -> NDArray[np.int32]:
    from scipy import ndimage
    from skimage.segmentation import watershed

    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask).astype(np.float32), 0.6 / mpp)
    side = 2 * max(1, round(_SEED_UM / mpp)) + 1
    peaks = (depth == ndimage.maximum_filter(depth, size=side)) & mask & (depth > 0.6 / mpp)
    seeds, count = ndimage.label(peaks, np.ones((3, 3)))
    if count == 0:
        return np.zeros(mask.shape, np.int32)
    return np.asarray(watershed(-depth, seeds, mask=mask), dtype=np.int32)


def _table(labels: NDArray[np.int32], haematoxylin: Floats, mpp: float) -> Nuclei:
    """Drop what is too small or too large and measure the rest by summed moments."""
    sizes = np.bincount(labels.ravel())
    keep = (sizes * mpp**2 >= MIN_AREA_UM2) & (sizes * mpp**2 <= MAX_AREA_UM2)
    keep[0] = False
    new = np.where(keep, keep.cumsum(), 0).astype(np.int32)
    labels = new[labels]
    n = int(keep.sum())
    rows, cols = np.nonzero(labels)
    which = labels[rows, cols] - 1

    def mean(values: NDArray[np.float64] | Floats) -> NDArray[np.float64]:
        return np.asarray(np.bincount(which, values, minlength=n) / np.maximum(count, 1))

    count = np.bincount(which, minlength=n).astype(float)
    x, y = mean(cols.astype(float)), mean(rows.astype(float))
    dx, dy = cols - x[which], rows - y[which]
    xx, yy, xy = mean(dx * dx) + 1 / 12, mean(dy * dy) + 1 / 12, mean(dx * dy)
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    eccentricity = np.sqrt(2 * spread / (xx + yy + spread))
    return Nuclei(
        labels=labels,
        xy_px=np.stack([x, y], axis=1).astype(np.float32),
        area_um2=(count * mpp**2).astype(np.float32),
        eccentricity=eccentricity.astype(np.float32),
        haematoxylin=mean(haematoxylin[rows, cols]).astype(np.float32),
    )
