"""Real tissue, to check that the embedded models notice that it is not theirs, and what they do to it.

Never used for training or for fitting a limit. Reads the layout of the shared data folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError

# (set, files, reduction to about 1 µm/px; where the source states no resolution: its usual one)
_SETS: Final = (
    ("camelyon16", "tiles_camelyon16/*/*.png", 2.0),
    ("glas", "tiles_glas/img/*.jpg", 1.6),
    ("gleason", "tiles_gleason/img/*.jpg", 2.0),
    ("nuclick IHC", "tiles_nuclick_ihc/img/*", 2.0),
    ("native roi", "wsi_atlas/native_roi/*.jpg", 3.8),
    ("qc tissue", "qc_images/histolab/*score*.png", 1.0),
    ("qc tissue", "qc_images/histolab/tissue-*.png", 1.0),
    ("qc tissue", "qc_images/histolab/kidney-ihc*.png", 1.0),
    ("qc tissue", "qc_images/histoqc/templates__template1.png", 1.0),
)
_SLIDES: Final = ("wsi_atlas/*.tiff", "wsi_small/*.svs")
_EMPTY_OD, _EMPTY_SHARE = 0.45, 0.15


def real_tiles(data: Path, px: int) -> dict[str, NDArray[np.uint8]]:
    """Set name → tiles [N, px, px, 3] with tissue on at least 15 % of each, at about 1 µm/px.

    CAMELYON16 tiles are only 64 µm wide: they stand at 0.5 µm/px.
    """
    found: dict[str, list[NDArray[np.uint8]]] = {}
    for name, pattern, reduction in _SETS:
        for path in sorted(data.glob(pattern)):
            found.setdefault(name, []).extend(_crops(path, reduction, px))
    return {name: np.stack(tiles) for name, tiles in found.items() if tiles}


def _crops(path: Path, reduction: float, px: int) -> Iterator[NDArray[np.uint8]]:
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    size = round(image.width / reduction), round(image.height / reduction)
    pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    for y in range(0, pixels.shape[0] - px + 1, px):
        for x in range(0, pixels.shape[1] - px + 1, px):
            tile = pixels[y : y + px, x : x + px]
            if shows_tissue(tile):
                yield tile


def slide_tiles(data: Path, px: int, n: int) -> NDArray[np.uint8]:
    """At most `n` tiles [N, px, px, 3] with tissue, cut from the real slides at full resolution.

    UserError where the folder holds none of them.
    """
    import openslide

    paths = [p for pattern in _SLIDES for p in sorted(data.glob(pattern))]
    tiles: list[NDArray[np.uint8]] = []
    for number, path in enumerate(paths):
        wanted = n * (number + 1) // len(paths)
        with openslide.OpenSlide(path) as slide:
            columns, rows = (side // px for side in slide.dimensions)
            for place in np.random.default_rng([number, 47]).permutation(columns * rows):
                if len(tiles) >= wanted:
                    break
                y, x = divmod(int(place), columns)
                tile = np.asarray(slide.read_region((x * px, y * px), 0, (px, px)).convert("RGB"))
                if shows_tissue(tile):
                    tiles.append(tile)
    if not tiles:
        raise UserError(f"{data} holds no tissue in {' or '.join(_SLIDES)}: give the shared data folder.")
    return np.stack(tiles)


def shows_tissue(tile: NDArray[np.uint8]) -> bool:
    """Whether tissue covers at least 15 % of it."""
    density = -np.log((tile.astype(np.float32) + 1) / 256).sum(-1)
    return float((density > _EMPTY_OD).mean()) >= _EMPTY_SHARE
