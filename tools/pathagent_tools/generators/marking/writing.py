"""The one way out for generated pixels: marked in every way, read again, then renamed into place."""

from __future__ import annotations

import io
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pathagent_tools.core.errors import PathAgentError, UserError
from pathagent_tools.core.files import sha256_bytes, write_bytes_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.synthetic import ReadBack, SyntheticImage
from pathagent_tools.generators.marking import band, provenance, watermark, xmp
from pathagent_tools.generators.marking.verify import REQUIRED, marks_of

FOLDER: Final = "synthetic"
PREFIX: Final = "synthetic_"
MIN_SIDE: Final = 256


class Origin(Frozen):
    """Where an image comes from: what its metadata, its manifest and its record say."""

    task: str
    title: str
    reason: str
    request: dict[str, Any]
    seed: int
    generator: str
    revision: str


def write_synthetic(
    image: Image,
    folder: Path,
    name: str,
    origin: Origin,
    *,
    number: int = 1,
    read_back: tuple[ReadBack, ...] = (),
) -> SyntheticImage:
    """Write `folder/synthetic/synthetic_NAME.png` with every mark; returns its record `G{number}`.

    image: RGB uint8, at least 256 px a side (smaller ones leave on contact sheets). UserError for smaller
    ones and for images too plain to hold the watermark; an error where a mark is not found again in the
    finished file. In neither case is anything written.
    """
    h, w = image.shape[:2]
    if min(h, w) < MIN_SIDE:
        raise UserError(
            f"{w} x {h} px is too small to leave alone: a synthetic image has at least {MIN_SIDE} px a side; "
            "ask for a larger size, or for several, which leave on one sheet."
        )
    data = marked_png(image, origin)
    marks = marks_of(data, f"{PREFIX}.png")
    missing = [m for m in REQUIRED if m not in marks.found]
    if missing:
        raise PathAgentError(f"The image was not written: its {', '.join(missing)} could not be read again.")
    file = f"{PREFIX}{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}.png"
    write_bytes_atomic(folder / FOLDER / file, data)
    return SyntheticImage(
        id=f"G{number}",
        file=file,
        sha256=sha256_bytes(data),
        read_back=read_back,
        marks=marks.found,
        width=w,
        height=h + band.HEIGHT,
        **origin.model_dump(),
    )


def marked_png(image: Image, origin: Origin) -> bytes:
    """A PNG with band, watermark, metadata and signed manifest."""
    from PIL import Image as Pil
    from PIL.PngImagePlugin import PngInfo

    pixels = watermark.embed(band.with_band(image))
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.packet(origin.model_dump()))
    info.add_text("Description", f"{band.TEXT}. Drawn by a generator; research use only.")
    buffer = io.BytesIO()
    Pil.fromarray(pixels).save(buffer, "PNG", pnginfo=info, optimize=True)
    return provenance.signed(
        buffer.getvalue(),
        "image/png",
        title=origin.title,
        made_by=version("pathagent"),
        record=origin.model_dump(),
    )
