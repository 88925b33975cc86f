"""Several images on one sheet with captions: how images under 256 px leave, and how series are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from pathagent_tools.core.protocols import Image

CELL: Final = 256
LINE: Final = 15
MOST_LINES: Final = 6
_GROUND: Final = (250, 250, 250)
_INK: Final = (20, 20, 20)


def contact_sheet(images: Sequence[Image], captions: Sequence[str], *, columns: int | None = None) -> Image:
    """[h, w, 3] uint8: images scaled by whole numbers to cells of 256 px, each over its caption."""
    from PIL import Image as Pil
    from PIL import ImageDraw, ImageFont

    told = [_wrapped(caption) for caption in captions]
    height = CELL + LINE * max(2, *map(len, told), 0) + 4
    columns = columns or min(4, max(1, math.ceil(math.sqrt(len(images)))))
    rows = math.ceil(len(images) / columns)
    sheet = Pil.new("RGB", (columns * CELL, rows * height), _GROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for i, (image, lines) in enumerate(zip(images, told, strict=True)):
        x, y = (i % columns) * CELL, (i // columns) * height
        sheet.paste(_cell(image), (x, y))
        for line, text in enumerate(lines):
            pen.text((x + 4, y + CELL + 2 + LINE * line), text, fill=_INK, font=font)
    return np.asarray(sheet)


def _cell(image: Image):  # type: ignore[no-untyped-def]
    from PIL import Image as Pil

    picture = Pil.fromarray(np.ascontiguousarray(image))
    larger = max(image.shape[:MOST_LINES])
    if larger <= CELL:
        factor = max(1, CELL // larger)
        return picture.resize((image.shape[1] * factor, image.shape[0] * factor), Pil.Resampling.BICUBIC)
    picture.thumbnail((CELL, CELL), Pil.Resampling.LANCZOS)
    return picture


def _wrapped(caption: str, width: int = 42) -> list[str]:
    import textwrap

    return textwrap.wrap(caption, width)[:MOST_LINES]
