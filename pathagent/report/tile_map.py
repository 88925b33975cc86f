"""Values of a slide's tiles, drawn over its overview: a heat map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pathagent.report.figures import Map
from pathagent_tools.core.protocols import Image

if TYPE_CHECKING:
    from pathagent.open_slide import OpenSlide

STOPS: Final = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Colours of 0, 0.25, 0.5, 0.75 and 1: dark violet to yellow, ever lighter, so that grey print works too."""
OPACITY: Final = 0.62
_BAR: Final = 0.24


@dataclass(frozen=True)
class TileMap:
    """[N] tiles: `boxes` int64 [N, 4] (x, y, width, height) in level-0 px, `values` 0..1, `hints` in words.

    `title` says what the values are.
    """

    boxes: NDArray[np.int64]
    values: NDArray[np.float64]
    title: str
    hints: tuple[str, ...] = ()


def scan_map(opened: OpenSlide) -> TileMap:
    """How unusual each tile was to the question-free scan, and the encoder's class of it."""
    features = opened.features
    sides = np.full((len(features), 2), round(features.size_level0), np.int64)
    return TileMap(
        boxes=np.hstack([features.coords, sides]),
        values=np.asarray(opened.anomaly, np.float64),
        title="unusual to the scan",
        hints=tuple(opened.hints),
    )


def colours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values 0..1 of any shape → RGB 0..255 on a last axis; what lies outside is clipped."""
    at = np.linspace(0, 1, len(STOPS))
    stops = np.array(STOPS, np.float64)
    clipped = np.clip(values, 0, 1)
    return np.stack([np.interp(clipped, at, stops[:, c]) for c in range(3)], axis=-1)


def heat_over(shown: Map, tiles: TileMap) -> Image:
    """The map with every tile tinted by its value; where tiles overlap, the highest value shows."""
    height, width = shown.rgb.shape[:2]
    values = np.full((height, width), -1.0)
    scale = shown.level0_per_px
    corner = np.array([shown.x, shown.y])
    starts = np.round((tiles.boxes[:, :2] - corner) / scale).astype(int)
    ends = np.round((tiles.boxes[:, :2] + tiles.boxes[:, 2:] - corner) / scale).astype(int)
    for (x0, y0), (x1, y1), value in zip(starts, np.maximum(ends, starts + 1), tiles.values, strict=True):
        part = values[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
        np.maximum(part, value, out=part)
    tint = OPACITY * (values >= 0)[..., None]
    mixed = shown.rgb * (1 - tint) + colours(values) * tint
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def with_key(image: Image, title: str) -> Image:
    """The picture with a strip below it: the colour bar from 0 to 1 and what it means."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    height, width = image.shape[:2]
    text = max(12, width // 48)
    strip = np.full((round(text * 2.2), width, 3), 255, np.uint8)
    bar = round(width * _BAR)
    left, top = text * 2, round(text * 0.6)
    strip[top : top + text, left : left + bar] = colours(np.linspace(0, 1, bar))[None].astype(np.uint8)
    picture = Pillow.fromarray(np.vstack([image, strip]))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(text)
    for x, word in ((text * 0.7, "0"), (left + bar + text * 0.5, f"1  {title}")):
        pen.text((x, height + top), word, fill=(20, 20, 20), font=font)
    return np.asarray(picture)
