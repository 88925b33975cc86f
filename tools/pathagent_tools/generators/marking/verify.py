"""Which marks of a synthetic image a file has: band, watermark, metadata, signed manifest."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.marking import band, provenance, watermark, xmp

Mark = Literal["band", "watermark", "metadata", "manifest", "name"]
REQUIRED: Final[tuple[Mark, ...]] = ("band", "watermark", "metadata", "manifest", "name")
_MIME: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "TIFF": "image/tiff", "WEBP": "image/webp"}
_WINDOW_PX: Final = 2048
"""Larger images are read in their upper left corner only."""


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
    return marks_of(path.read_bytes(), path.name, sidecar=path.with_name(f"{path.name}.c2pa"))


def marks_of(data: bytes, name: str, *, sidecar: Path | None = None) -> Marks:
    """As `verify`, of a file's bytes. sidecar: a manifest that lies beside the file."""
    pixels, kind, packet = _read(data, name)
    bits = watermark.matches(pixels)
    manifest = provenance.manifest_of(data, _MIME[kind], sidecar=sidecar) if kind in _MIME else None
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


def _read(data: bytes, name: str) -> tuple[Image, str, str]:
    """(pixels, format, XMP) of an image."""
    from PIL import Image as Pil
    from PIL import UnidentifiedImageError

    try:
        with Pil.open(io.BytesIO(data)) as picture:
            kind = picture.format or ""
            packet = picture.info.get("xmp", picture.info.get("XML:com.adobe.xmp", ""))
            w, h = picture.size
            part = picture.crop((0, 0, min(w, _WINDOW_PX), min(h, _WINDOW_PX)))
            pixels = np.asarray(part.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name} is no image that can be read: give a PNG, JPEG or TIFF.") from error
    return pixels, kind, packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
