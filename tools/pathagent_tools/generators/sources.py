"""Pictures that a task starts from: an image file, or a region of a slide."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen, Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.conditions import LABELS, Layout

PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_SIDE: Final = 4096


class Source(Frozen):
    """An image file at `mpp`, or a slide with the centre (x, y) of a field in level-0 px."""

    path: Path
    x: int | None = Field(default=None, description="level-0 px, centre of the field; slides only")
    y: int | None = None
    mpp: float = Field(default=1.0, description="µm per px of the image file, or to read the slide at")

    def read(self, size: int | None = None) -> Image:
        """RGB [h, w, 3]: the whole image file, or a field of `size` px of the slide.

        UserError: absent, no image, too large, a slide without a place, a place off the slide.
        """
        if self.path.suffix.lower() in PICTURES:
            return read_picture(self.path)
        return self._field(size or 128)

    def _field(self, size: int) -> Image:
        from pathagent_tools.slides import open_slide

        with open_slide(self.path) as slide:
            if self.x is None or self.y is None:
                raise UserError(
                    f"Say where on {slide.name}: --x and --y, the centre of the field in level-0 px."
                )
            side = round(size * self.mpp / slide.mpp)
            x, y = self.x - side // 2, self.y - side // 2
            if x < 0 or y < 0 or x + side > slide.width or y + side > slide.height:
                raise UserError(
                    f"The field of {side} px around ({self.x}, {self.y}) leaves {slide.name} "
                    f"({slide.width} x {slide.height} px): choose another place."
                )
            region = Region(slide=slide.id, x=x, y=y, width=side, height=side, mpp=self.mpp)
            return slide.read(region).copy()


def read_picture(path: Path) -> Image:
    """RGB pixels of an image file."""
    from PIL import Image as Pil
    from PIL import UnidentifiedImageError

    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        with Pil.open(path) as picture:
            if max(picture.size) > MAX_SIDE:
                raise UserError(
                    f"{path.name} is {picture.size[0]} x {picture.size[1]} px: at most {MAX_SIDE} a side."
                )
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{path} is no image that can be read: give a PNG or JPEG.") from error


def read_map(path: Path) -> NDArray[np.uint8]:
    """A map of numbers [h, w]: a grey-level or palette PNG, its values as they stand."""
    from PIL import Image as Pil
    from PIL import UnidentifiedImageError

    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        with Pil.open(path) as picture:
            if picture.mode not in ("L", "P", "1", "I", "I;16"):
                raise UserError(
                    f"{path.name} is a colour picture ({picture.mode}): a mask has one channel of numbers."
                )
            values = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{path} is no image that can be read: give a PNG with one channel.") from error
    return values.astype(np.uint8)


def read_layout(path: Path, nuclei: Path | None = None) -> Layout:
    """A layout from a PNG of class numbers and, if given, a mask of nuclei. UserError as in `Layout`."""
    labels = read_map(path)
    if min(labels.shape) < 128:
        known = ", ".join(f"{i} {name}" for i, name in enumerate(LABELS))
        raise UserError(f"{path.name} is smaller than 128 px a side. It needs class numbers: {known}.")
    return Layout(labels, None if nuclei is None else read_map(nuclei) > 0)


def read_mask(path: Path, image: Image) -> NDArray[np.bool_]:
    """A mask (anything above 0) of the same size as the image. UserError where it is not, or is empty."""
    mask = read_map(path) > 0
    if mask.shape != image.shape[:2]:
        raise UserError(
            f"{path.name} is {mask.shape[1]} x {mask.shape[0]} px, the picture {image.shape[1]} x "
            f"{image.shape[0]}: give both the same size."
        )
    if not mask.any():
        raise UserError(f"{path.name} marks nothing: draw what is to be changed in white.")
    return mask
