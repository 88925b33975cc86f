"""JPEG tiles of a TIFF, straight from the file: each decoded once, smaller where less detail is wanted.

A scanner's TIFF (Aperio, generic) is a pyramid of JPEG tiles. libjpeg-turbo decodes one in a sixth of the
time that a general reader needs, and at 1/2, 1/4 or 1/8 of its size in less than that, because it averages
in the frequency domain. Nothing here guesses how a file means its colours: `open_level` compares tiles with
what OpenSlide shows of them and takes the reading that is equal to it, or none.
Sources: TIFF 6.0 and its Technical Note 2 (JPEG tables); Adobe APP14 marker (ITU-T T.872).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import openslide

VENDORS: Final = ("aperio", "generic-tiff")
"""Formats whose tiles lie edge to edge from the corner of the canvas. Others overlap, or have gaps."""
TOLERANCE: Final = 1
"""Grey levels by which two decoders may round differently."""
CACHE_BYTES: Final = 64 << 20
MAX_REDUCTION: Final = 8
_JPEG: Final = 7
_GRAIN: Final = 1 / 512  # px: a shift that is no shift
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_ADOBE: Final = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"  # … then the colour transform, 0 or 1
_READINGS: Final = (b"", _ADOBE + b"\x00", _ADOBE + b"\x01")
"""What to put before a tile: nothing, or a marker that says RGB, or one that says YCbCr."""

Pixels = NDArray[np.uint8]


@dataclass
class JpegLevel:
    """One level of the pyramid. `offsets`, `counts` [rows × columns]: where each tile's bytes lie."""

    path: Path
    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    tables: bytes
    head: bytes = _SOI
    decoded: int = 0
    _cache: OrderedDict[tuple[int, int, int], Pixels] = field(default_factory=OrderedDict)
    _cached: int = 0

    def __post_init__(self) -> None:
        self.columns = -(-self.width // self.tile_width)
        self._file = self.path.open("rb", buffering=0)

    def tile(self, column: int, row: int, reduction: int = 1) -> Pixels | None:
        """RGB [tile_height / reduction, tile_width / reduction, 3], or None where it cannot be decoded.

        The last tiles asked for are kept (64 MiB), so neighbours that share one decode it once.
        """
        key = (column, row, reduction)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        pixels = self._decode(column, row, reduction)
        if pixels is not None:
            self._cache[key] = pixels
            self._cached += pixels.nbytes
            while self._cached > CACHE_BYTES:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def area(self, x: int, y: int, width: int, height: int, reduction: int = 1) -> Pixels | None:
        """RGB [height, width, 3] of a rectangle in px of the level ÷ `reduction`; None as in `tile`."""
        tile_w, tile_h = self.tile_width // reduction, self.tile_height // reduction
        if x < 0 or y < 0 or (x + width) * reduction > self.width or (y + height) * reduction > self.height:
            return None
        if x % tile_w == y % tile_h == 0 and (width, height) == (tile_w, tile_h):
            return self.tile(x // tile_w, y // tile_h, reduction)
        out = np.empty((height, width, 3), np.uint8)
        for row in range(y // tile_h, (y + height - 1) // tile_h + 1):
            for column in range(x // tile_w, (x + width - 1) // tile_w + 1):
                pixels = self.tile(column, row, reduction)
                if pixels is None:
                    return None
                left, top = column * tile_w - x, row * tile_h - y
                part = pixels[max(0, -top) : height - top, max(0, -left) : width - left]
                at_y, at_x = max(0, top), max(0, left)
                out[at_y : at_y + part.shape[0], at_x : at_x + part.shape[1]] = part
        return out

    def shifted(self, x: float, y: float, width: int, height: int) -> Pixels | None:
        """`area` at a fraction of a px, blended linearly from its neighbours, as OpenSlide shows it."""
        left, top = math.floor(x + _GRAIN), math.floor(y + _GRAIN)
        more_x, more_y = max(0.0, x - left), max(0.0, y - top)
        more_x, more_y = (more if more > _GRAIN else 0.0 for more in (more_x, more_y))
        pixels = self.area(left, top, width + bool(more_x), height + bool(more_y))
        if pixels is None or not (more_x or more_y):
            return pixels
        image, box = Image.fromarray(pixels), (more_x, more_y, more_x + width, more_y + height)
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box), np.uint8)

    def forget(self) -> None:
        """Drop the kept tiles and the count of what was decoded."""
        self._cache.clear()
        self._cached = self.decoded = 0

    @property
    def sides(self) -> tuple[int, int]:
        """(width, height) of a tile in px of the level."""
        return self.tile_width, self.tile_height

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def decode_into(self, column: int, row: int, reduction: int, out: Pixels) -> bool:
        """Decode a whole tile straight into `out`, past the cache; False where it cannot be decoded.

        out: contiguous RGB [tile_height / reduction, tile_width / reduction, 3].
        """
        return self._decode(column, row, reduction, out) is not None

    def _decode(self, column: int, row: int, reduction: int, out: Pixels | None = None) -> Pixels | None:
        index = row * self.columns + column
        count = int(self.counts[index])
        if count <= len(_SOI):
            return None  # a tile that the scanner left out: the general reader knows what stands for it
        self._file.seek(int(self.offsets[index]))
        data = self._file.read(count)
        wanted = (self.tile_height // reduction, self.tile_width // reduction)
        options: dict[str, Any] = {} if out is None else {"buffer": out}
        if reduction > 1:
            options |= {"min_height": wanted[0], "min_width": wanted[1], "min_factor": 1}
        try:
            pixels: Pixels = simplejpeg.decode_jpeg(
                self.head + self.tables + data[len(_SOI) :], fastdct=False, fastupsample=False, **options
            )
        except ValueError:
            return None
        self.decoded += 1
        return pixels if pixels.shape == (*wanted, 3) else None


def reduction_for(ratio: float) -> int:
    """Largest of 1, 2, 4, 8 by which a level may be reduced when `ratio` of its px make one wanted px."""
    return max(r for r in (1, 2, 4, MAX_REDUCTION) if r == 1 or r <= ratio * 1.005)


def open_level(
    slide: openslide.OpenSlide, path: Path, level: int, near: Iterable[tuple[int, int]]
) -> JpegLevel | None:
    """The level's tiles where they are JPEG and decode to what OpenSlide shows of them; else None.

    near: level-px positions; the tiles there are the ones compared (±1 grey level in every one).
    """
    if slide.properties.get("openslide.vendor") not in VENDORS:
        return None
    found = _find(path, slide.level_dimensions[level])
    if found is None:
        return None
    places = sorted({(x // found.tile_width, y // found.tile_height) for x, y in near})
    for reading in _READINGS:
        found.forget()
        found.head = _SOI + reading
        if places and all(_same(slide, level, found, place) for place in places):
            found.forget()
            return found
    found.close()
    return None


def _find(path: Path, size: tuple[int, int]) -> JpegLevel | None:
    """The one directory of a TIFF with JPEG tiles of 8 bits RGB and that size."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [p for p in tiff.pages if p.is_tiled and (p.imagewidth, p.imagelength) == size]
            if len(pages) != 1 or pages[0].compression != _JPEG:
                return None
            (page,) = pages
            if page.samplesperpixel != 3 or page.bitspersample != 8 or page.planarconfig != 1:
                return None
            if page.tilewidth % MAX_REDUCTION or page.tilelength % MAX_REDUCTION:
                return None
            level = JpegLevel(
                path, *size, page.tilewidth, page.tilelength,
                np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64),
                tables=_between_markers(page.jpegtables),
            )  # fmt: skip
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, OSError):
        return None
    rows = -(-level.height // level.tile_height)
    return level if len(level.offsets) == len(level.counts) == level.columns * rows else None


def _between_markers(tables: bytes | None) -> bytes:
    """The tables of an abbreviated JPEG stream without its start and end."""
    return b"" if tables is None else tables.removeprefix(_SOI).removesuffix(_EOI)


def _same(slide: openslide.OpenSlide, level: int, found: JpegLevel, place: tuple[int, int]) -> bool:
    """Whether one tile, as far as it lies on the level, is what OpenSlide shows there."""
    down = slide.level_downsamples[level]
    x0, y0 = (math.ceil(i * side * down) for i, side in zip(place, found.sides, strict=True))
    right, bottom = ((i + 1) * side for i, side in zip(place, found.sides, strict=True))
    size = int(min(right, found.width) - x0 / down) - 1, int(min(bottom, found.height) - y0 / down) - 1
    if min(size) <= 0:
        return False
    ours = found.shifted(x0 / down, y0 / down, *size)
    shown = slide.read_region((x0, y0), level, size).convert("RGB")
    return ours is not None and bool(np.abs(np.asarray(shown, np.int16) - ours).max() <= TOLERANCE)
