"""What lies behind a path: which files belong to the slide, and is it safe to hand them to a decoder?

Everything here runs in the calling process, so it reads bytes with `struct` only and within bounds.
TIFF layout: TIFF 6.0 specification; BigTIFF: libtiff's description of it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pathagent_tools.core.errors import DamagedSlideError, MissingSlideError, SlideError
from pathagent_tools.core.files import sha256_bytes, sha256_file
from pathagent_tools.slides.dicom_check import check_dicom
from pathagent_tools.slides.tiff_check import check_tiff, is_ome_tiff, is_tiff

SLIDE_SUFFIXES: Final = (
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".dcm"
)  # fmt: skip
"""File name endings of what OpenSlide 4 opens."""
_DICOM_HEADER: Final = 1 << 16  # bytes of a DICOM file that are searched for header elements
_SERIES_TAG: Final = b"\x20\x00\x0e\x00UI"  # (0020,000E) SeriesInstanceUID, explicit little endian


@dataclass(frozen=True, slots=True)
class SlideSource:
    """One slide on disk: the file that the decoder opens and every file that belongs to it."""

    path: Path
    files: tuple[Path, ...]
    name: str
    ome: bool = False

    def digest(self) -> str:
        """sha256 of the file; of the sorted digests of all files where the slide has several."""
        digests = [sha256_file(f) for f in self.files]
        return digests[0] if len(digests) == 1 else sha256_bytes("\n".join(sorted(digests)).encode())


def find_source(path: Path) -> SlideSource:
    """Resolve a path given by a user and check it before any decoder sees it.

    A folder is accepted where its `.dcm` files form one DICOM series.
    Raises SlideError for what is absent, not a slide, truncated, or has impossible tile sizes.
    """
    if not path.exists():
        raise MissingSlideError(f"No such file: {path}.{_suggestion(path)}")
    if path.is_dir():
        return _dicom_folder(path)
    if not path.is_file():
        raise SlideError(f"{path} is not a regular file. Give the path of a slide file.")
    head = _head(path)
    _refuse_text(path, head)
    if head[128:132] == b"DICM":
        return _dicom(path, _series_of(path), path.name)
    if is_tiff(head):
        check_tiff(path)
        return SlideSource(path, (path,), path.name, ome=is_ome_tiff(path))
    return SlideSource(path, _with_companions(path), path.name)


def _head(path: Path, size: int = 4096) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(size)
    except OSError as error:
        reason = error.strerror or "read error"
        raise SlideError(f"{path} cannot be read: {reason}. Try: ls -l '{path}'") from None


def _refuse_text(path: Path, head: bytes) -> None:
    if not head:
        raise DamagedSlideError(f"{path} is an empty file. Copy the slide again and compare the file sizes.")
    if path.suffix.lower() in (".vms", ".vmu", ".mrxs"):  # their index may be text
        return
    if b"\x00" not in head and sum(b in b"\t\r\n" or 32 <= b < 127 for b in head) > 0.95 * len(head):
        raise SlideError(
            f"{path} is a text file, not a slide. "
            f"Give a whole-slide image that OpenSlide reads ({' '.join(SLIDE_SUFFIXES)})."
        )


def _suggestion(path: Path) -> str:
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist either. Check the path with: ls"
    names = [p.name for p in path.parent.iterdir() if p.suffix.lower() in SLIDE_SUFFIXES]
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {path.parent / close[0]}?" if close else f" Look at: ls {path.parent}"


def _dicom_folder(folder: Path) -> SlideSource:
    by_series: dict[bytes, list[Path]] = {}
    for file in sorted(folder.glob("*.dcm")):
        by_series.setdefault(_series_uid(file), []).append(file)
    if not by_series:
        raise SlideError(
            f"{folder} is a folder without DICOM files (*.dcm). Give one slide file, "
            f"or run a folder of slides with: pathagent batch {folder}"
        )
    if len(by_series) > 1:
        first = next(iter(by_series.values()))[0]
        raise SlideError(
            f"{folder} holds {len(by_series)} DICOM series. Give one file of the series you want, "
            f"for example: {first}"
        )
    (files,) = by_series.values()
    return _dicom(files[0], tuple(files), folder.name)


def _dicom(path: Path, files: tuple[Path, ...], name: str) -> SlideSource:
    for file in files:
        check_dicom(file, _head(file, _DICOM_HEADER))
    return SlideSource(path, files, name)


def _series_of(path: Path) -> tuple[Path, ...]:
    uid = _series_uid(path)
    return tuple(f for f in sorted(path.parent.glob("*.dcm")) if f == path or uid == _series_uid(f) != b"")


def _series_uid(path: Path) -> bytes:
    """SeriesInstanceUID as bytes, empty where the header has none in its first 64 KiB."""
    head = _head(path, _DICOM_HEADER)
    at = head.find(_SERIES_TAG) if head[128:132] == b"DICM" else -1
    if at < 0:
        return b""
    start = at + len(_SERIES_TAG) + 2
    length = int.from_bytes(head[start - 2 : start], "little")
    return head[start : start + length].rstrip(b"\x00 ")


def _with_companions(path: Path) -> tuple[Path, ...]:
    """MIRAX keeps its pixels in a folder of the same name."""
    folder = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and folder.is_dir():
        return (path, *(f for f in sorted(folder.iterdir()) if f.is_file()))
    return (path,)
