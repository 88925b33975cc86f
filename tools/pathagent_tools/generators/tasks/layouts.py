"""A layout becomes an image, of one field or of any size, window by window (IMG-07, 11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.conditions import LABELS, Conditions, Layout, stain_code
from pathagent_tools.generators.sampling import integrate, seed_of
from pathagent_tools.generators.sources import read_layout, read_picture
from pathagent_tools.generators.studio import Drawn, Studio
from pathagent_tools.generators.tasks.patches import Seed

OVERLAP: Final = 32
"""Pixels that neighbouring windows share, blended with weights that fall to nothing at the border."""
_NOISE_CELL: Final = 32
MAX_SIDE: Final = 65536


class LayoutRequest(Frozen):
    """A map of tissue classes (PNG of class numbers), if wanted with a mask of nuclei, becomes an image."""

    layout: Path = Field(description=", ".join(f"{i} {name}" for i, name in enumerate(LABELS)))
    nuclei: Path | None = Field(default=None, description="mask of nuclei, of the same size")
    stain_of: Path | None = None
    mpp: float = Field(default=1.0, ge=0.5, le=2.0)
    seed: Seed = 0


def draw_layout(studio: Studio, request: LayoutRequest) -> Drawn:
    """The layout beside its image. Sides are cut to multiples of 16 px."""
    layout = read_layout(request.layout, request.nuclei)
    h, w = (16 * (s // 16) for s in layout.labels.shape)
    code = stain_code(read_picture(request.stain_of)) if request.stain_of else None
    conditions = Conditions(stain=code, mpp=request.mpp)
    image = np.concatenate(list(field_rows(studio, conditions, WholeLayout(layout), w, h, request.seed)))
    shown = class_colours(layout.labels[:h, :w])
    return Drawn(
        task="layout",
        title="Layout to image",
        images=(shown, image),
        captions=("layout (given)", "drawn from it"),
        words=({}, {}),
        request=conditions.but(layout=layout).given,
        seed=request.seed,
        mpp=request.mpp,
        synthetic=(False, True),
        columns=2,
    )


class Layouts(Protocol):
    """Where what is, of a field of any size."""

    def window(self, x: int, y: int, size: int) -> Layout:
        """The layout of the square window at (x, y) px."""
        ...


class WholeLayout:
    """A layout that is whole in memory; windows beyond its edge are empty glass."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def window(self, x: int, y: int, size: int) -> Layout:
        """As `Layouts.window`."""
        layout = self._layout
        bottom = max(0, y + size - layout.labels.shape[0])
        right = max(0, x + size - layout.labels.shape[1])
        if bottom or right:
            pad = ((0, bottom), (0, right))
            layout = Layout(
                np.pad(layout.labels, pad, mode="edge"),
                None if layout.nuclei is None else np.pad(layout.nuclei, pad),
            )
        return layout.crop(y, x, size)


def field_rows(
    studio: Studio, conditions: Conditions, layouts: Layouts, width: int, height: int, seed: int
) -> Iterator[Image]:
    """Strips [rows, width, 3] of the image from top to bottom; memory follows the width, not the height.

    Windows share `OVERLAP` pixels and, because noise belongs to its place, what they start from.
    """
    if max(width, height) > MAX_SIDE:
        raise UserError(f"{width} x {height} px were asked for: at most {MAX_SIDE} px a side.")
    size = _window_size(studio.generator.px, width, height)
    step = size - OVERLAP
    weights = _hann(size)
    carry: NDArray[np.float32] | None = None
    carried: NDArray[np.float32] | None = None
    for y in range(0, height, step):
        total = np.zeros((size, width + size, 3), np.float32)
        weight = np.zeros((size, width + size, 1), np.float32)
        if carry is not None and carried is not None:
            total[:OVERLAP], weight[:OVERLAP] = carry, carried
        for x in range(0, width, step):
            drawn = _window(studio, conditions, layouts, x, y, size, seed)
            total[:, x : x + size] += weights * drawn
            weight[:, x : x + size] += weights
        last = y + step >= height
        done = height - y if last else step
        rows = total[:done] / np.maximum(weight[:done], 1e-6)
        yield np.clip(np.round(rows[:, :width]), 0, 255).astype(np.uint8)
        carry, carried = total[step:].copy(), weight[step:].copy()
        if last:
            return


def _window(
    studio: Studio, conditions: Conditions, layouts: Layouts, x: int, y: int, size: int, seed: int
) -> NDArray[np.float32]:
    import torch

    told = conditions.but(layout=layouts.window(x, y, size))

    def noise(step: int) -> torch.Tensor:
        return torch.from_numpy(place_noise(seed_of(seed, step), x, y, size))[None]

    drawn = integrate(studio.generator, noise, [told], studio.sampling)
    return np.asarray(studio.generator.decode(drawn)[0], np.float32)


def place_noise(seed: int, x: int, y: int, size: int) -> NDArray[np.float32]:
    """[3, size, size] noise of the window at (x, y) px: a function of seed and place alone."""
    cell = _NOISE_CELL
    left, top = x // cell, y // cell
    across, down = -(-(x + size) // cell) - left, -(-(y + size) // cell) - top
    out = np.empty((3, down * cell, across * cell), np.float32)
    for i in range(down):
        for j in range(across):
            rng = np.random.default_rng([seed, top + i, left + j])
            out[:, i * cell : (i + 1) * cell, j * cell : (j + 1) * cell] = rng.standard_normal(
                (3, cell, cell), dtype=np.float32
            )
    dy, dx = y - top * cell, x - left * cell
    return np.ascontiguousarray(out[:, dy : dy + size, dx : dx + size])


def class_colours(labels: NDArray[np.uint8]) -> Image:
    """A layout as a picture [h, w, 3], one colour a class."""
    colours = np.array(
        [
            (245, 245, 245), (255, 236, 179), (244, 143, 177), (183, 28, 28), (129, 199, 132), (255, 183, 77),
            (126, 87, 194), (66, 165, 245), (121, 85, 72), (178, 235, 242), (220, 237, 200), (255, 224, 178),
            (209, 196, 233), (239, 83, 80),
        ],
        np.uint8,
    )  # fmt: skip
    return np.asarray(colours[labels])


def _window_size(px: int, width: int, height: int) -> int:
    """One window for a field of the generator's own size, else larger ones with more in view."""
    return px if max(width, height) <= px else 2 * px


def _hann(size: int) -> NDArray[np.float32]:
    """[size, size, 1]: 1 inside, falling over `OVERLAP` pixels towards the border."""
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(OVERLAP) + 0.5) / OVERLAP)
    line = np.ones(size)
    line[:OVERLAP], line[-OVERLAP:] = ramp, ramp[::-1]
    return np.asarray((line[:, None] * line[None, :])[..., None] + 1e-4, np.float32)
