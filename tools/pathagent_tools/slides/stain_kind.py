"""Which stain is this, and are red and blue in their places? Optical-density geometry, no weights.

By Beer–Lambert a dye has a fixed direction in optical-density space whatever its concentration. Eosin and
haematoxylin both absorb green most; diaminobenzidine (DAB) and silver absorb blue most; Giemsa's azure
absorbs red most. Directions are compared as shares of the three channels, which sum to 1.
Dye vectors: Ruifrok & Johnston 2001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import Image
from pathagent_tools.slides.background import Floats, find_background, optical_density

StainKind = Literal[
    "H&E",
    "not H&E: brown chromogen (immunohistochemistry)",
    "not H&E: haematoxylin without eosin",
    "Giemsa-like",
    "silver",
    "fluorescence",
    "unclear",
]
IHC: Final = "not H&E: brown chromogen (immunohistochemistry)"

_MIN_DENSITY = 0.35  # summed optical density of a pixel that carries stain
_MIN_PIXELS = 500
_BROWN_NUCLEI = -0.015  # nuclei this much less blue than their surroundings: red and blue are exchanged
_BROWN_NUCLEI_UNSURE = -0.08
_GREEN_EXCESS = 0.15  # H&E: green share above the mean of the others; real slides 0.19 and more
_NUCLEUS_UM = 3.0
_SMALLEST_PX = 32


@dataclass(frozen=True, slots=True)
class StainFinding:
    """The stain that pixels look like. `wrong_colours` is red/blue exchanged or a coloured background.

    green_excess, brown, blue: the figures behind it (shares 0..1). nuclei_blueness: how much bluer than
    their surroundings the nuclei are (share of red minus share of blue absorbed); below 0 they are brown.
    """

    kind: StainKind
    wrong_colours: bool
    reason: str
    green_excess: float = 0.0
    brown: float = 0.0
    blue: float = 0.0
    nuclei_blueness: float = 0.0


def stain_of_pixels(
    rgb: Image, *, white: tuple[float, float, float] | None = None, um_per_px: float = 0.5
) -> StainFinding:
    """Judge the stain of one picture [h, w, 3] or of a stack of fields [n, h, w, 3], uint8 RGB.

    white: colour of the empty slide; estimated from the pixels where it is not given.
    um_per_px: scale of the pixels, for the size of a nucleus.
    """
    fields = rgb[None] if rgb.ndim == 3 else rgb
    if white is None:
        background = find_background(fields.reshape(-1, fields.shape[2], 3))
        if background.kind == "dark":
            return StainFinding("fluorescence", False, "bright signal on a dark background")
        if background.kind == "coloured":
            return StainFinding("unclear", True, f"the empty slide is coloured {_hex(background.rgb)}")
        white = background.rgb if background.found else _pale_end(fields)
    od = optical_density(fields, white)
    stained = od.sum(-1) > _MIN_DENSITY
    if stained.sum() < _MIN_PIXELS:
        return StainFinding("unclear", False, "too little stain to judge")
    # One channel of the white at its upper limit bends pale colours; below a pixel nuclei are no spots.
    unsure = (max(white) >= 253 and min(white) < 248) or um_per_px > 2
    return _judge(od, stained, um_per_px, _BROWN_NUCLEI_UNSURE if unsure else _BROWN_NUCLEI)


def _judge(od: Floats, stained: NDArray[np.bool_], um_per_px: float, brown_nuclei: float) -> StainFinding:
    total = od.sum(-1)
    share = od / np.maximum(total, 1e-3)[..., None]
    pixels, weight = share[stained], total[stained]
    margin = 0.03
    brown = float(((pixels[:, 2] > pixels[:, 1] + margin) & (pixels[:, 2] > pixels[:, 0] + margin)).mean())
    blue = float(((pixels[:, 0] > pixels[:, 1] + margin) & (pixels[:, 0] > pixels[:, 2] + margin)).mean())
    pale = pixels[weight <= np.percentile(weight, 80)].mean(0)
    excess = float(pale[1] - (pale[0] + pale[2]) / 2)
    blueness = _nuclei_blueness(od, um_per_px)
    kind, wrong, reason = _decide(pale, excess, brown, blue, blueness, brown_nuclei)
    return StainFinding(kind, wrong, reason, excess, brown, blue, blueness)


def _decide(
    pale: Floats, excess: float, brown: float, blue: float, blueness: float, brown_nuclei: float
) -> tuple[StainKind, bool, str]:
    red_over_blue = float(pale[0] - pale[2])
    if excess >= _GREEN_EXCESS:
        if blueness < brown_nuclei and red_over_blue > -0.2:
            return "unclear", True, "nuclei are brown on blue-violet: red and blue look exchanged"
        if red_over_blue > 0.12 and pale[0] > 0.30 and blueness < 0:
            return "unclear", True, "eosin looks blue: red and blue look exchanged"
        return "H&E", False, "haematoxylin and eosin: green is absorbed most everywhere"
    if brown > 0.8 and pale[2] > 0.45:
        return "silver", False, "everything is golden brown to black"
    if blue > 0.5 and pale[0] > 0.42 and pale[2] < 0.21:
        return "Giemsa-like", False, "everything is blue, without eosin pink"
    if brown >= 0.01:
        return IHC, False, "brown beside blue, without eosin pink"
    if red_over_blue > -0.05:
        return "not H&E: haematoxylin without eosin", False, "blue to grey, without eosin pink"
    return "unclear", False, "the colours fit no common stain"


def _nuclei_blueness(od: Floats, um_per_px: float) -> float:
    """Red-minus-blue share of dark, nucleus-sized spots minus that of the stained surroundings.

    Judged at about 1 µm per px, where nuclei are spots as well: the filters are most of the work.
    """
    from scipy import ndimage

    factor = max(1, round(1.0 / um_per_px))
    n, height, width = (s // (factor if i else 1) for i, s in enumerate(od.shape[:3]))
    if factor > 1 and min(height, width) >= _SMALLEST_PX:
        blocks = od[:, : height * factor, : width * factor].reshape(n, height, factor, width, factor, 3)
        od, um_per_px = blocks.mean((2, 4)), um_per_px * factor
    total = od.sum(-1)
    share = od / np.maximum(total, 1e-3)[..., None]
    stained = total > _MIN_DENSITY
    sigma = max(0.7, _NUCLEUS_UM / um_per_px)
    tone = np.where(stained, share[..., 0] - share[..., 2], 0)
    spots, tones = [], []
    for density, shade, mask in zip(total, tone, stained, strict=True):
        near = ndimage.gaussian_filter(mask.astype(np.float32), 2 * sigma) + 1e-3
        spots.append(density - ndimage.gaussian_filter(density * mask, 2 * sigma) / near)
        tones.append(shade)
    spot, shade = np.stack(spots)[stained], np.stack(tones)[stained]
    low, high = np.percentile(spot, [50, 90])
    return float(shade[spot > high].mean() - shade[spot <= low].mean())


def _pale_end(fields: Image) -> tuple[float, float, float]:
    """A guess at the white of pictures that show no empty slide: their palest pixels."""
    flat = fields.reshape(-1, 3)
    r, g, b = (float(np.clip(np.percentile(flat[:, c], 99.5), 215, 250)) for c in range(3))
    return r, g, b


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(v):02x}" for v in rgb)
