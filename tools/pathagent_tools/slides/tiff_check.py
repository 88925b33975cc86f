"""Look at a TIFF's directory before a decoder does.

One damaged byte in a tile size can make a decoder ask for terabytes and abort its process; a file cut
off while copying fails only when its last tiles are read. Both are seen here from the tags alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, NoReturn

import numpy as np

from pathagent_tools.core.errors import DamagedSlideError

MAX_SIDE: Final = 4_000_000
MAX_TILE_BYTES: Final = 256 << 20
MAX_UNDIVIDED_BYTES: Final = 1 << 30
"""Largest NDPI level without restart markers: OpenSlide decodes such a level whole."""
MAX_DIRECTORIES: Final = 4096
_WIDTH, _HEIGHT, _DESCRIPTION, _SAMPLES = 256, 257, 270, 277
_TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _COUNTS = 322, 323, 324, 325
_STRIP_OFFSETS, _STRIP_COUNTS = 273, 279
_NDPI = 65420
_JPEG, _RESTART_INTERVAL, _SCAN = b"\xff\xd8", 0xFFDD, 0xFFDA
_TYPE_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_SIZES_BIG: Final = {**_TYPE_SIZES, 16: 8, 17: 8, 18: 8}
_INTEGERS: Final = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


@dataclass(frozen=True, slots=True)
class _Tag:
    type: int
    count: int
    at: int  # file position of the value


@dataclass(slots=True)
class _Tiff:
    path: Path
    handle: BinaryIO
    size: int
    order: Literal["<", ">"]
    big: bool

    def broken(self, what: str) -> NoReturn:
        raise DamagedSlideError(
            f"{self.path} is damaged or truncated: {what}. Copy or export the slide again."
        )

    def read(self, at: int, n: int) -> bytes:
        if at + n > self.size:
            self.broken(f"it has {self.size:,} bytes but refers to byte {at + n:,}")
        self.handle.seek(at)
        return self.handle.read(n)

    def number(self, at: int, n: int) -> int:
        return int.from_bytes(self.read(at, n), "little" if self.order == "<" else "big")

    def values(self, tag: _Tag) -> np.ndarray:
        """Integer values of a tag as int64."""
        kind = _INTEGERS.get(tag.type)
        if kind is None:
            self.broken(f"a size or offset is stored as TIFF type {tag.type}")
        raw = self.read(tag.at, tag.count * int(kind[1]))
        return np.frombuffer(raw, np.dtype(kind).newbyteorder(self.order)).astype(np.int64)


def is_tiff(head: bytes) -> bool:
    """True where the first bytes are those of a TIFF or BigTIFF."""
    return head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def is_ome_tiff(path: Path) -> bool:
    """True where the first directory's description is OME-XML."""
    with path.open("rb") as handle:
        tiff = _start(path, handle)
        first = next(_directories(tiff), {})
        tag = first.get(_DESCRIPTION)
        return tag is not None and b"<OME" in tiff.read(tag.at, min(tag.count, 4096))


def check_tiff(path: Path) -> None:
    """Refuse a TIFF whose dimensions are impossible or whose tiles lie beyond the end of the file.

    Raises SlideError with one sentence; returns None where the directory is sound.
    """
    with path.open("rb") as handle:
        tiff = _start(path, handle)
        found = False
        for tags in _directories(tiff):
            found = True
            _check_directory(tiff, tags)
        if not found:
            tiff.broken("it has no image directory")


def _start(path: Path, handle: BinaryIO) -> _Tiff:
    head = handle.read(16)
    order: Literal["<", ">"] = "<" if head[:2] == b"II" else ">"
    return _Tiff(path, handle, path.stat().st_size, order, big=b"+" in head[2:4])


def _directories(tiff: _Tiff) -> Iterator[dict[int, _Tag]]:
    count_size, entry_size, offset_size = (8, 20, 8) if tiff.big else (2, 12, 4)
    sizes = _TYPE_SIZES_BIG if tiff.big else _TYPE_SIZES
    at = tiff.number(8, 8) if tiff.big else tiff.number(4, 4)
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) >= MAX_DIRECTORIES:
            tiff.broken("its directories form a loop")
        seen.add(at)
        count = tiff.number(at, count_size)
        if count > 65535:
            tiff.broken(f"a directory claims {count:,} tags")
        raw = tiff.read(at + count_size, count * entry_size)
        tags = {}
        for i in range(count):
            key, kind = struct.unpack_from(f"{tiff.order}HH", raw, i * entry_size)
            n = struct.unpack_from(f"{tiff.order}{'Q' if tiff.big else 'I'}", raw, i * entry_size + 4)[0]
            inline = at + count_size + i * entry_size + 4 + offset_size
            wide = n * sizes.get(kind, 1) > offset_size
            tags[key] = _Tag(kind, n, tiff.number(inline, offset_size) if wide else inline)
        yield tags
        at = tiff.number(at + count_size + count * entry_size, offset_size)


def _first(tiff: _Tiff, tags: dict[int, _Tag], key: int, default: int) -> int:
    tag = tags.get(key)
    return default if tag is None else int(tiff.values(_Tag(tag.type, min(tag.count, 1), tag.at))[0])


def _check_directory(tiff: _Tiff, tags: dict[int, _Tag]) -> None:
    width, height = (_first(tiff, tags, key, 0) for key in (_WIDTH, _HEIGHT))
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        tiff.broken(f"an image of {width:,} × {height:,} px is claimed")
    if _NDPI in tags:
        _check_ndpi_level(tiff, tags, width, height)
        return
    if _TILE_WIDTH in tags:
        _check_tiles(tiff, tags, width, height)
    elif _STRIP_OFFSETS in tags and _STRIP_COUNTS in tags:
        _check_extent(tiff, tags, _STRIP_OFFSETS, _STRIP_COUNTS)


def _check_ndpi_level(tiff: _Tiff, tags: dict[int, _Tag], width: int, height: int) -> None:
    """One JPEG a level, cut into tiles by its restart markers.

    Files of 4 GiB and more keep the high half of their offsets elsewhere and are left to the decoder.
    """
    start = _first(tiff, tags, _STRIP_OFFSETS, 0)
    if tiff.size >= 1 << 32 or not start or _restart_interval(tiff, start) != 0:
        return
    if width * height * _first(tiff, tags, _SAMPLES, 1) > MAX_UNDIVIDED_BYTES:
        tiff.broken(f"an image of {width:,} × {height:,} px without tiles is claimed")


def _restart_interval(tiff: _Tiff, start: int) -> int | None:
    """Blocks between restart markers of the JPEG at `start` (0: none are used); None where no JPEG is."""
    if tiff.read(start, 2) != _JPEG:
        return None
    at = start + 2
    while True:
        marker, length = struct.unpack(">HH", tiff.read(at, 4))
        if marker == _RESTART_INTERVAL:
            return int.from_bytes(tiff.read(at + 4, 2), "big")
        if marker == _SCAN or not 0xFF01 < marker < 0xFFFF or length < 2:
            return 0
        at += 2 + length


def _check_tiles(tiff: _Tiff, tags: dict[int, _Tag], width: int, height: int) -> None:
    tile_w, tile_h = (_first(tiff, tags, key, 0) for key in (_TILE_WIDTH, _TILE_HEIGHT))
    samples = _first(tiff, tags, _SAMPLES, 1)
    if not (tile_w > 0 and tile_h > 0 and 0 < samples <= 64 and tile_w * tile_h * samples <= MAX_TILE_BYTES):
        tiff.broken(f"tiles of {tile_w:,} × {tile_h:,} px with {samples} samples are claimed")
    expected = -(-width // tile_w) * -(-height // tile_h)
    if _OFFSETS not in tags or tags[_OFFSETS].count % expected:
        found = tags[_OFFSETS].count if _OFFSETS in tags else 0
        tiff.broken(f"{expected:,} tiles are needed and {found:,} are listed")
    if _COUNTS in tags:
        _check_extent(tiff, tags, _OFFSETS, _COUNTS)


def _check_extent(tiff: _Tiff, tags: dict[int, _Tag], offsets: int, counts: int) -> None:
    starts, lengths = tiff.values(tags[offsets]), tiff.values(tags[counts])
    if len(starts) != len(lengths):
        tiff.broken(f"{len(starts):,} tile offsets but {len(lengths):,} tile lengths are listed")
    if len(starts) == 0:
        return
    end = int((starts + lengths)[lengths > 0].max(initial=0))
    if end > tiff.size:
        tiff.broken(f"it has {tiff.size:,} bytes but its tiles reach to byte {end:,}")
