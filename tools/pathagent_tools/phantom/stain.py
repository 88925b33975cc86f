"""From dye to pixels: stains (Beer-Lambert) and scanners (gain, white point, gamma, PSF, noise, JPEG)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.phantom.noise import hash_cell, kernel, part

StainWord = Literal["pale", "balanced", "dark"]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class StainBatch:
    """One staining run: optical density per unit dye (R, G, B) and how strong it came out."""

    haematoxylin: Vector
    eosin: Vector
    strength: float

    @property
    def word(self) -> StainWord:
        """pale below 0.84, dark above 1.2: batches are drawn with a gap around these limits."""
        return "pale" if self.strength < 0.84 else "dark" if self.strength > 1.2 else "balanced"


@dataclass(frozen=True, slots=True)
class Scanner:
    """A device: everything between the light path and the file."""

    name: str
    haematoxylin: Vector
    eosin: Vector
    white: Vector
    gain: float
    gamma: float
    psf_um: float
    noise: float
    jpeg_quality: int


_S = Scanner
SCANNERS_TRAIN: Final[tuple[Scanner, ...]] = (
    _S("alder", (0.62, 0.72, 0.31), (0.14, 0.92, 0.38), (243, 242, 244), 1.00, 1.00, 0.34, 1.6, 82),
    _S("birch", (0.69, 0.66, 0.33), (0.18, 0.87, 0.48), (236, 238, 240), 0.95, 1.06, 0.42, 2.2, 75),
    _S("cedar", (0.58, 0.75, 0.36), (0.10, 0.95, 0.30), (248, 246, 247), 1.10, 0.95, 0.28, 1.2, 88),
    _S("elm", (0.56, 0.72, 0.44), (0.20, 0.86, 0.54), (240, 236, 232), 1.05, 1.00, 0.46, 2.6, 80),
    _S("fir", (0.66, 0.69, 0.30), (0.12, 0.93, 0.36), (228, 231, 236), 0.92, 1.10, 0.38, 1.8, 78),
)
"""Scanners that training recipes may use."""
SCANNERS_HELD_OUT: Final[tuple[Scanner, ...]] = (
    _S("hazel", (0.61, 0.68, 0.40), (0.24, 0.84, 0.42), (246, 243, 236), 1.08, 0.98, 0.50, 2.0, 72),
    _S("juniper", (0.74, 0.62, 0.27), (0.15, 0.90, 0.42), (233, 235, 243), 0.97, 1.08, 0.32, 2.8, 85),
)
"""Scanners that no training recipe may use."""
SCANNERS: Final[dict[str, Scanner]] = {s.name: s for s in SCANNERS_TRAIN + SCANNERS_HELD_OUT}

MUCUS: Final[Vector] = (0.62, 0.50, 0.26)
HAEMOGLOBIN: Final[Vector] = (0.10, 0.82, 0.86)


def scanner_named(name: str) -> Scanner:
    """The scanner of that name. UserError lists the names."""
    if name not in SCANNERS:
        raise UserError(f"Unknown phantom scanner {name!r}. Known: {', '.join(SCANNERS)}.")
    return SCANNERS[name]


def draw_stain(rng: np.random.Generator, word: StainWord | None = None) -> StainBatch:
    """A staining run; `word` fixes its strength class."""
    choice = word or ("pale", "balanced", "balanced", "dark")[int(rng.integers(4))]
    low, high = {"pale": (0.56, 0.78), "balanced": (0.9, 1.12), "dark": (1.3, 1.62)}[choice]
    return StainBatch(
        haematoxylin=_around(rng, (0.0, 0.0, 0.0), 0.02),
        eosin=_around(rng, (0.0, 0.0, 0.0), 0.03),
        strength=float(rng.uniform(low, high)),
    )


def _around(rng: np.random.Generator, centre: Vector, sd: float) -> Vector:
    a, b, c = (float(v + rng.normal(0.0, sd)) for v in centre)
    return a, b, c


def absorbance(scanner: Scanner, stain: StainBatch) -> NDArray[np.float32]:
    """[4, 3]: natural optical density (R, G, B) per unit of haematoxylin, eosin, mucus, haemoglobin.

    The scanner gives the colour axes, the batch its offset from them and its strength.
    """
    rows = [
        np.maximum(np.add(scanner.haematoxylin, stain.haematoxylin), 0.02) * stain.strength,
        np.maximum(np.add(scanner.eosin, stain.eosin), 0.02) * stain.strength**0.8,
        np.array(MUCUS) * (0.6 + 0.4 * stain.strength),
        np.array(HAEMOGLOBIN),
    ]
    return (np.stack(rows) * scanner.gain).astype(np.float32)


@kernel
def expose(
    dyes: NDArray[np.float32], matrix: NDArray[np.float32], gamma: float, rgb: NDArray[np.float32]
) -> None:
    """Beer-Lambert: dyes [h, w, 4] → transmitted light to the power of gamma, 0..1, in rgb [h, w, 3]."""
    for i in range(dyes.shape[0]):
        for j in range(dyes.shape[1]):
            a, b, c, d = dyes[i, j, 0], dyes[i, j, 1], dyes[i, j, 2], dyes[i, j, 3]
            for m in range(3):
                od = a * matrix[0, m] + b * matrix[1, m] + c * matrix[2, m] + d * matrix[3, m]
                rgb[i, j, m] = math.exp(-od * gamma)


@kernel
def digitise(
    light: NDArray[np.float32],
    px0: int,
    py0: int,
    white: NDArray[np.float32],
    noise: float,
    key: int,
    out: NDArray[np.uint8],
) -> None:
    """Light 0..1 → uint8 with sensor noise tied to the pixel's place on the slide (px0, py0)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            bits = hash_cell(px0 + j, py0 + i, key)
            for m in range(3):
                grain = (part(bits, m) + part(bits, 3) - 1.0) * 2.45 * noise
                v = white[m] * light[i, j, m] + grain
                out[i, j, m] = np.uint8(min(255.0, max(0.0, v + 0.5)))
