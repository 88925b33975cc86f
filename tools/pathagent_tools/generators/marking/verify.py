"""Which marks of a synthetic image a file has: band, watermark, metadata, signed manifest."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import numpy as np
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.marking import band, provenance, watermark, xmp

Mark = Literal["band", "watermark", "metadata", "manifest", "name"]
REQUIRED: Final[tuple[Mark, ...]] = ("band", "watermark", "metadata", "manifest", "name")
_MIME: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "TIFF": "image/tiff", "WEBP": "image/webp"}
_WINDOW_PX: Final = 1024
"""Larger images are read in their upper left corner only."""
_XMP_TAG: Final = 700


class Marks(Frozen):
    """What was found. `watermark_bits` of 32 are as written; `intact`: whether a manifest's file is unaltered
    since it was signed (None without a manifest); `record`: what the file says of its origin."""

    found: tuple[Mark, ...]
    watermark_bits: int
    intact: bool | None = None
    record: dict[str, Any] = Field(default={})

    @property
    def synthetic(self) -> bool:
        """Whether any mark says that the image was generated; a file's name alone does not."""
        return any(m != "name" for m in self.found)


def verify(path: Path) -> Marks:
    """The marks of an image file. UserError where it is absent or no image."""
    if not path.is_file():
        raise UserError(f"There is no file {path}: give a PNG, JPEG or TIFF.")
    corner = _corner(path) if path.suffix.lower() in (".tif", ".tiff") else None
    with path.open("rb") as file:
        seen = corner or _read(file, path.name)
        return _marks(*seen, file, path.name, sidecar=path.with_name(f"{path.name}.c2pa"))


def marks_of(data: bytes, name: str) -> Marks:
    """As `verify`, of a file's bytes."""
    file = io.BytesIO(data)
    return _marks(*_read(file, name), file, name)


def _marks(
    pixels: Image, kind: str, packet: str, file: BinaryIO, name: str, *, sidecar: Path | None = None
) -> Marks:
    bits = watermark.matches(pixels)
    file.seek(0)
    manifest = provenance.manifest_of(file, _MIME[kind], sidecar=sidecar) if kind in _MIME else None
    found: list[Mark] = []
    if band.has_band(pixels):
        found.append("band")
    if bits >= watermark.FOUND:
        found.append("watermark")
    if xmp.says_synthetic(packet):
        found.append("metadata")
    if manifest is not None and manifest["synthetic"]:
        found.append("manifest")
    if name.startswith("synthetic_"):
        found.append("name")
    return Marks(
        found=tuple(found),
        watermark_bits=bits,
        intact=manifest["intact"] if manifest else None,
        record=xmp.record_of(packet),
    )


def _read(file: BinaryIO, name: str) -> tuple[Image, str, str]:
    """(pixels, format, XMP) of an image."""
    from PIL import Image as Pil
    from PIL import UnidentifiedImageError

    try:
        with Pil.open(file) as picture:
            kind = picture.format or ""
            packet = picture.info.get("xmp", picture.info.get("XML:com.adobe.xmp", ""))
            w, h = picture.size
            part = picture.crop((0, 0, min(w, _WINDOW_PX), min(h, _WINDOW_PX)))
            pixels = np.asarray(part.convert("RGB"))
    except (UnidentifiedImageError, Pil.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name} is no image that can be read: give a PNG, JPEG or TIFF.") from error
    return pixels, kind, packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)


def _corner(path: Path) -> tuple[Image, str, str] | None:
    """As `_read`, of a tiled TIFF of any size, of which only a corner is decoded; None for other TIFFs."""
    import openslide
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            tag = tiff.pages[0].tags.get(_XMP_TAG)
            packet = "" if tag is None else bytes(tag.value).decode("utf-8", "replace")
        with openslide.OpenSlide(path) as slide:
            size = tuple(min(side, _WINDOW_PX) for side in slide.dimensions)
            pixels = np.asarray(slide.read_region((0, 0), 0, size).convert("RGB"))
    except (tifffile.TiffFileError, openslide.OpenSlideError):
        return None
    return pixels, "TIFF", packet
