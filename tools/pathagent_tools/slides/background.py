"""The colour of the empty slide: what light looks like where there is no tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import Image

Floats = NDArray[np.float32]

_DEFAULT_WHITE: Final = (243.0, 243.0, 243.0)
_NEUTRAL_CHROMA = 28  # max − min of a background colour that counts as white or grey at once
_TINTED_CHROMA = 80  # … and where the area is also flat: a tinted white, not pale tissue
_FLAT_NOISE = 4.0  # grey levels between neighbours on an empty, evenly lit area


@dataclass(frozen=True, slots=True)
class Background:
    """Colour of the empty slide. `kind` 'white' is ordinary brightfield; 'coloured' is wrong colours.

    `found` is False where the picture shows no empty area (white is then a typical scanner white).
    """

    rgb: tuple[float, float, float]
    kind: str  # 'white' | 'dark' | 'coloured'
    found: bool


def find_background(rgb: Image) -> Background:
    """Background of an overview picture, uint8 RGB [h, w, 3]."""
    pixels = rgb.reshape(-1, 3).astype(np.int16)
    low, high = pixels.min(1), pixels.max(1)
    flat = _flat(rgb).ravel()
    neutral = (low > 160) & (high - low < _NEUTRAL_CHROMA)
    tinted = (low > 160) & (high - low < _TINTED_CHROMA) & flat
    empty = [pixels[m] for m, least in ((neutral, 0.003), (tinted, 0.02)) if m.mean() > least]
    if empty:  # the brighter of the two: tissue can look neutral under a tinted light
        return Background(max((_median(_brightest(e)) for e in empty), key=sum), "white", True)
    if np.median(high) < 70:
        return Background(_median(pixels[high <= np.median(high)]), "dark", True)
    coloured = flat & (high > 120)
    if coloured.mean() > 0.08:
        colour = _mode(pixels[coloured])
        if max(colour) - min(colour) >= _TINTED_CHROMA:
            return Background(colour, "coloured", True)
    return Background(_DEFAULT_WHITE, "white", False)


def optical_density(rgb: Image, white: tuple[float, float, float]) -> Floats:
    """Beer–Lambert: −ln(I / I₀) per channel, float32, not below 0. `white` is I₀ in grey levels."""
    levels = np.arange(256, dtype=np.float32) + 1
    tables = [np.maximum(-np.log(levels / (w + 1)), 0).astype(np.float32) for w in white]
    return np.stack([tables[c][rgb[..., c]] for c in range(3)], axis=-1)


def _brightest(pixels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Those near the brightest common grey: a scanner's white, not pale tissue."""
    total = pixels.sum(1)
    counts = np.bincount(total, minlength=766).astype(float)
    smooth = np.convolve(counts, np.ones(9), "same")
    peak = int(np.argmax(smooth))
    return np.asarray(pixels[np.abs(total - peak) <= 12])


def _median(pixels: NDArray[np.int16]) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in np.median(pixels, axis=0))
    return r, g, b


def _mode(pixels: NDArray[np.int16]) -> tuple[float, float, float]:
    coarse = (pixels >> 3).astype(np.int64) @ np.array([1024, 32, 1])
    return _median(pixels[coarse == np.bincount(coarse).argmax()])


def _flat(rgb: Image) -> NDArray[np.bool_]:
    grey = rgb.astype(np.float32).mean(2)
    dx = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    dy = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    return np.asarray((dx + dy) < _FLAT_NOISE)
