"""Deep zoom: a slide as 256 px tiles, each level half the size of the one above it.

Format: Deep Zoom Image (schemas.microsoft.com/deepzoom/2008), as OpenSeadragon reads it. Only level-0
coordinates are asked of the slide, so label and macro images cannot be reached.
"""

from __future__ import annotations

import io
import math
import threading
from collections import OrderedDict
from typing import Final

from PIL import Image as Pillow

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.slides import Slide

TILE_PX: Final = 256
QUALITY: Final = 85


class TileCache:
    """Encoded tiles that were asked for last, at most `limit` bytes. Thread-safe."""

    def __init__(self, limit: int = 96 << 20) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int, int, int]) -> bytes | None:
        """The kept tile of (slide id, level, column, row); level -1: thumbnails by size."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, int, int, int], tile: bytes) -> None:
        """Keep a tile; the ones that were not asked for longest give way."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = tile
                self._size += len(tile)
            while self._size > self._limit:
                self._size -= len(self._kept.popitem(last=False)[1])


def top_level(slide: Slide) -> int:
    """The level of full resolution; level 0 is one pixel."""
    return max(0, math.ceil(math.log2(max(slide.width, slide.height))))


def description(slide: Slide) -> str:
    """The `.dzi` file of a slide."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" Overlap="0" '
        f'TileSize="{TILE_PX}"><Size Width="{slide.width}" Height="{slide.height}"/></Image>\n'
    )


def tile(slide: Slide, level: int, column: int, row: int) -> bytes:
    """One tile as JPEG. UserError where there is no such tile, SlideError where it cannot be decoded."""
    top = top_level(slide)
    down = 2 ** max(0, top - level)
    across, below = math.ceil(slide.width / down), math.ceil(slide.height / down)
    if not 0 <= level <= top or not (0 <= column * TILE_PX < across and 0 <= row * TILE_PX < below):
        raise UserError("There is no such tile.")
    width, height = min(TILE_PX, across - column * TILE_PX), min(TILE_PX, below - row * TILE_PX)
    region = Region(
        slide=slide.id,
        x=column * TILE_PX * down,
        y=row * TILE_PX * down,
        width=width * down,
        height=height * down,
        mpp=slide.mpp * down,
    )
    return jpeg(slide.read(region))


def jpeg(image: Image, *, max_px: int | None = None) -> bytes:
    """RGB uint8 [h, w, 3] as JPEG, its longer side at most `max_px`."""
    picture = Pillow.fromarray(image)
    if max_px is not None:
        picture.thumbnail((max_px, max_px), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
