"""The visible mark: a band across the top of an image that says what it is."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import Image

TEXT: Final = "SYNTHETIC - not patient tissue"
HEIGHT: Final = 24
"""Pixels that the band takes."""
MIN_WIDTH: Final = 256
_GROUND: Final = (24, 24, 24)
_INK: Final = (255, 214, 10)
_FOUND: Final = 0.8
"""Correlation with the freshly drawn band from which on it counts as found."""


@lru_cache(maxsize=32)
def band(width: int) -> NDArray[np.uint8]:
    """[HEIGHT, width, 3]: the text, repeated as often as it fits. Width at least `MIN_WIDTH`."""
    from PIL import Image as Pil
    from PIL import ImageDraw, ImageFont

    picture = Pil.new("RGB", (width, HEIGHT), _GROUND)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=15)
    step = MIN_WIDTH
    long = pen.textlength(TEXT, font)
    for i in range(max(1, width // step)):
        pen.text((i * step + (step - long) / 2, 2), TEXT, fill=_INK, font=font)
    drawn = np.asarray(picture)
    drawn.setflags(write=False)
    return drawn


def with_band(image: Image) -> Image:
    """The image with the band above it: [h + HEIGHT, w, 3]."""
    return np.concatenate([band(image.shape[1]), image])


def has_band(image: Image) -> bool:
    """Whether a band stands at the top of the image, after compression or scaling too."""
    import cv2

    scale_from = band(MIN_WIDTH).astype(np.float32).mean(-1)
    top = np.asarray(image[: 2 * HEIGHT]).astype(np.float32).mean(-1)
    for scale in (1.0, 0.75, 0.5, 1.5, 2.0):
        wanted = cv2.resize(scale_from, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if wanted.shape[0] > top.shape[0] or wanted.shape[1] > top.shape[1]:
            continue
        if float(cv2.matchTemplate(top, wanted, cv2.TM_CCOEFF_NORMED).max()) > _FOUND:
            return True
    return False
