"""Small tissue-like slides, written as tiled TIFF in a second: pink stroma, and a dark lesion if wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 1152
MPP = 0.5
LESION = (600, 240, 320, 320)
"""x, y, width, height of the lesion in level-0 px."""


def paint(*, lesion: bool, seed: int = 0, brown: bool = False) -> NDArray[np.uint8]:
    """[SIDE, SIDE, 3] uint8 RGB: a disc of eosin-stained fibres with haematoxylin-stained nuclei."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    tissue = np.hypot(x - SIDE / 2, y - SIDE / 2) < 0.42 * SIDE
    fibres = 0.30 + 0.08 * np.sin(x / 9 + 3 * np.sin(y / 60)) + 0.03 * rng.normal(size=x.shape)
    eosin = np.where(tissue, fibres, 0.0)
    haematoxylin = np.zeros_like(x)
    lx, ly, lw, lh = LESION
    for _ in range(620):
        _nucleus(haematoxylin, rng.uniform(0, SIDE), rng.uniform(0, SIDE), 5.0, 0.9)
    if lesion:
        for _ in range(520):
            _nucleus(haematoxylin, rng.uniform(lx, lx + lw), rng.uniform(ly, ly + lh), 7.0, 1.2)
        inside = (x >= lx) & (x < lx + lw) & (y >= ly) & (y < ly + lh)
        haematoxylin += np.where(inside, 0.35, 0.0)
    haematoxylin *= tissue
    blue = np.array([0.27, 0.57, 0.78] if brown else [0.65, 0.70, 0.29])
    red = np.array([0.65, 0.70, 0.29] if brown else [0.07, 0.99, 0.11])
    density = haematoxylin[..., None] * blue + eosin[..., None] * red * (0.3 if brown else 1.0)
    rgb = 245 * np.exp(-density) + rng.normal(size=(SIDE, SIDE, 1)) * 1.5
    return np.clip(rgb, 0, 255).astype(np.uint8)


def _nucleus(plane: NDArray[np.float32], cx: float, cy: float, radius: float, density: float) -> None:
    x0, y0 = int(cx - radius - 1), int(cy - radius - 1)
    if x0 < 0 or y0 < 0 or x0 + 2 * radius + 3 >= SIDE or y0 + 2 * radius + 3 >= SIDE:
        return
    y, x = np.mgrid[y0 : int(y0 + 2 * radius + 3), x0 : int(x0 + 2 * radius + 3)]
    disc = np.hypot((x - cx) * 0.8, (y - cy) * 1.2) < radius
    plane[y, x] = np.maximum(plane[y, x], disc * density)


def write_slide(path: Path, pixels: NDArray[np.uint8], *, mpp: float | None = MPP) -> Path:
    """A tiled two-level TIFF that OpenSlide opens; `mpp=None` leaves the resolution out."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    more = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    with tifffile.TiffWriter(path) as tiff:
        options = {"photometric": "rgb", "tile": (256, 256), "metadata": None, "compression": "jpeg"}
        tiff.write(pixels, **options, **more)
        tiff.write(pixels[::4, ::4].copy(), **options, subfiletype=1)
    return path
