"""Colour deconvolution: how much haematoxylin and eosin lies in each pixel.

The two dye directions are estimated once per slide (Macenko et al., ISBI 2009) and replaced by the
published ones (Ruifrok & Johnston 2001) where the estimate is not plausible for H&E.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.slides.background import Floats, find_background, optical_density
from pathagent_tools.slides.quality import sample_fields
from pathagent_tools.slides.slide import Slide
from pathagent_tools.slides.tissue import Tissue, tissue_mask

Vector = tuple[float, float, float]
REFERENCE_H: Final[Vector] = (0.650, 0.704, 0.286)
REFERENCE_E: Final[Vector] = (0.072, 0.990, 0.105)
_WHITE: Final[Vector] = (243.0, 243.0, 243.0)
_MIN_DENSITY = 0.45
_MIN_PIXELS = 2000
_MAX_PIXELS = 400_000


class StainMatrix(Frozen):
    """The two dyes of one slide.

    haematoxylin, eosin: unit vectors in optical density (R, G, B). white: the empty slide in grey levels.
    nuclear_threshold: amount of haematoxylin that parts nuclei from the rest on this slide.
    source: 'estimated' from the slide, or 'reference' where the estimate was not plausible.
    """

    haematoxylin: Vector = REFERENCE_H
    eosin: Vector = REFERENCE_E
    white: Vector = _WHITE
    nuclear_threshold: float = 0.55
    source: Literal["estimated", "reference"] = "reference"

    @property
    def angle_degrees(self) -> float:
        """Angle between the dyes: about 20–40° on ordinary H&E; small where the dyes are hard to part."""
        return float(np.degrees(np.arccos(np.clip(np.dot(self.haematoxylin, self.eosin), -1, 1))))


def estimate_stain(
    slide_or_pixels: Slide | Image, *, tissue: Tissue | None = None, white: Vector | None = None
) -> StainMatrix:
    """The stain of a slide (from about two dozen fields of its tissue) or of given pixels [..., 3].

    Falls back to the reference vectors, and says so in `source`, where there is too little tissue or the
    estimate is not H&E-like. Deterministic.
    """
    if isinstance(slide_or_pixels, Slide):
        tissue = tissue or tissue_mask(slide_or_pixels)
        pixels, _ = sample_fields(slide_or_pixels, tissue)
        if white is None and tissue.background.kind == "white" and tissue.background.found:
            white = tissue.background.rgb
    else:
        pixels = slide_or_pixels
    if white is None:
        flat = pixels.reshape(-1, 1, 3)
        background = find_background(flat) if len(flat) else None
        white = background.rgb if background and background.kind == "white" else _WHITE
    od = optical_density(pixels, white).reshape(-1, 3)
    return _fit(od[od.sum(1) > _MIN_DENSITY], white)


def separate(rgb: Image, stain: StainMatrix) -> tuple[Floats, Floats]:
    """Amounts of (haematoxylin, eosin), float32 [h, w] each, not below 0; 1 is one unit of density."""
    dyes = np.linalg.pinv(np.array([stain.haematoxylin, stain.eosin])).astype(np.float32)
    amounts = optical_density(rgb, stain.white) @ dyes
    return np.maximum(amounts[..., 0], 0), np.maximum(amounts[..., 1], 0)


def _fit(od: Floats, white: Vector) -> StainMatrix:
    if len(od) < _MIN_PIXELS:
        return StainMatrix(white=white)
    od = od[:: max(1, len(od) // _MAX_PIXELS)]
    dyes = _macenko(od)
    estimated = dyes is not None
    h, e = dyes if dyes is not None else (np.array(REFERENCE_H), np.array(REFERENCE_E))
    amounts = od @ np.linalg.pinv(np.stack([h, e])).astype(np.float32)
    return StainMatrix(
        haematoxylin=_vector(h),
        eosin=_vector(e),
        white=white,
        nuclear_threshold=_nuclear_threshold(amounts[:, 0]),
        source="estimated" if estimated else "reference",
    )


def _macenko(od: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The extreme directions in the plane of the two largest components; None where not H&E-like."""
    _, vectors = np.linalg.eigh(np.cov(od.T.astype(np.float64)))
    plane = vectors[:, [2, 1]]
    plane = plane * np.where(plane.sum(0) < 0, -1, 1)
    projected = od @ plane
    angles = np.arctan2(projected[:, 1], projected[:, 0])
    low, high = np.percentile(angles, [1, 99])
    ends = [plane @ np.array([np.cos(a), np.sin(a)]) for a in (low, high)]
    ends = [np.maximum(v, 0) / np.linalg.norm(np.maximum(v, 0)) for v in ends]
    e, h = sorted(ends, key=lambda v: v[0])
    apart = np.degrees(np.arccos(np.clip(h @ e, -1, 1)))
    plausible = h @ np.array(REFERENCE_H) > 0.90 and e @ np.array(REFERENCE_E) > 0.80 and 8 < apart < 60
    return (h, e) if plausible else None


def _nuclear_threshold(haematoxylin: Floats) -> float:
    from skimage.filters import threshold_otsu

    top = float(np.percentile(haematoxylin, 99.5))
    if top < 0.1:
        return 0.55
    return float(np.clip(threshold_otsu(np.clip(haematoxylin, 0, top)), 0.25, 1.2))


def _vector(v: NDArray[np.float64]) -> Vector:
    r, g, b = (round(float(x), 4) for x in v)
    return r, g, b
