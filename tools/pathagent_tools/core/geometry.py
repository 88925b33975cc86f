"""Where on a slide, and at what scale.

All stored coordinates are the top-left corner (x, y) in level-0 pixels, x right, y down.
All requests for pixels are in micrometres per pixel (mpp), never in pyramid levels.
"""

from __future__ import annotations

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """An immutable record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Region(Frozen):
    """A rectangle in level-0 pixels of one slide, with the mpp at which it is looked at.

    A 192 px look at 1.0 mpp on a slide scanned at 0.5 mpp has width = height = 384.
    """

    slide: str = Field(description="slide id: S1, S2, … in the order of the case")
    x: int
    y: int
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    mpp: float = Field(gt=0, description="µm per pixel at which the pixels are shown")

    @property
    def center(self) -> tuple[float, float]:
        """Centre (x, y) in level-0 px."""
        return self.x + self.width / 2, self.y + self.height / 2

    def meets(self, other: Region) -> bool:
        """Whether the centre of one lies in the other: the one is a look at the other."""
        return self.slide == other.slide and (self._holds(other.center) or other._holds(self.center))

    def _holds(self, point: tuple[float, float]) -> bool:
        x, y = point
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height

    def overlap(self, other: Region) -> float:
        """Intersection over union with another region of the same slide, 0 across slides."""
        if self.slide != other.slide:
            return 0.0
        w = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        h = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if w <= 0 or h <= 0:
            return 0.0
        return w * h / (self.width * self.height + other.width * other.height - w * h)


class TileSpec(Frozen):
    """A regular grid of tiles: `tile_px` pixels a side at `mpp`, neighbours sharing `overlap_px`.

    Three sizes follow from it. With tile_px=256, mpp=0.5 on a slide scanned at 0.25 mpp:
    the tile covers 128 µm of tissue (`field_um`), 512 level-0 px (`size_level0(0.25)`), and the
    next one starts 512 level-0 px further (`stride_level0(0.25)`, a float: it is rounded per tile,
    so a grid never drifts).
    """

    tile_px: int = Field(gt=0)
    mpp: float = Field(gt=0)
    overlap_px: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _overlap_smaller_than_tile(self) -> Self:
        if self.overlap_px >= self.tile_px:
            raise ValueError(f"overlap_px {self.overlap_px} must be smaller than tile_px {self.tile_px}")
        return self

    @property
    def field_um(self) -> float:
        """Side of the tissue square that one tile shows, in µm."""
        return self.tile_px * self.mpp

    def size_level0(self, slide_mpp: float) -> float:
        """Side of a tile in level-0 px of a slide scanned at `slide_mpp`."""
        return self.tile_px * self.mpp / slide_mpp

    def stride_level0(self, slide_mpp: float) -> float:
        """Distance between neighbouring tiles in level-0 px (not rounded)."""
        return (self.tile_px - self.overlap_px) * self.mpp / slide_mpp

    def origins(self, length_level0: int, slide_mpp: float) -> list[int]:
        """Rounded start positions along one axis of `length_level0` px; only whole tiles."""
        stride, size = self.stride_level0(slide_mpp), self.size_level0(slide_mpp)
        n = math.floor((length_level0 - size) / stride + 1e-6) + 1
        return [round(i * stride) for i in range(max(0, n))]
