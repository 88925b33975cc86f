"""Look at a DICOM header before a decoder does: one damaged byte in a frame size can claim gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pathagent_tools.core.errors import SlideError
from pathagent_tools.slides.tiff_check import MAX_SIDE, MAX_TILE_BYTES

# Tag and value representation in explicit little endian, which every compressed DICOM file uses.
_SAMPLES: Final = b"\x28\x00\x02\x00US"  # (0028,0002) SamplesPerPixel
_ROWS, _COLUMNS = b"\x28\x00\x10\x00US", b"\x28\x00\x11\x00US"  # (0028,0010) Rows, (0028,0011) Columns
_TOTAL_COLUMNS, _TOTAL_ROWS = b"\x48\x00\x06\x00UL", b"\x48\x00\x07\x00UL"
_PIXELS: Final = b"\xe0\x7f\x10\x00O"  # (7FE0,0010) PixelData


def check_dicom(path: Path, head: bytes) -> None:
    """Refuse a file whose header claims a frame or a slide of impossible size.

    head: the first bytes of the file; sizes that stand later are left to the decoder. SlideError in one
    sentence.
    """
    header = head.partition(_PIXELS)[0]
    columns, rows = _number(header, _COLUMNS), _number(header, _ROWS)
    if columns * rows * max(1, _number(header, _SAMPLES)) > MAX_TILE_BYTES:
        raise _damaged(path, f"frames of {columns:,} × {rows:,} px are claimed")
    columns, rows = _number(header, _TOTAL_COLUMNS), _number(header, _TOTAL_ROWS)
    if max(columns, rows) > MAX_SIDE:
        raise _damaged(path, f"an image of {columns:,} × {rows:,} px is claimed")


def _number(header: bytes, tag: bytes) -> int:
    """Value of an unsigned element, 0 where the header has none."""
    at = header.find(tag)
    if at < 0:
        return 0
    start = at + len(tag) + 2
    length = int.from_bytes(header[start - 2 : start], "little")
    return int.from_bytes(header[start : start + min(length, 4)], "little")


def _damaged(path: Path, what: str) -> SlideError:
    return SlideError(f"{path} is damaged: {what}. Copy or export the slide again.")
