"""A coarse layout becomes a field of thousands of pixels a side, as a pyramidal TIFF (IMG-11)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.synthetic import SyntheticImage
from pathagent_tools.generators.conditions import LABELS, Conditions, Layout, stain_code
from pathagent_tools.generators.marking.slide_writing import write_synthetic_slide
from pathagent_tools.generators.marking.writing import Origin
from pathagent_tools.generators.sources import read_map, read_picture
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.tasks.layouts import MAX_SIDE, field_rows
from pathagent_tools.generators.tasks.patches import Seed

MIN_SIDE: Final = 512


class FieldRequest(Frozen):
    """A coarse map of tissue classes becomes a large field. Nuclei and fibres are the generator's own."""

    layout: Path = Field(
        description="PNG of class numbers; " + ", ".join(f"{i} {n}" for i, n in enumerate(LABELS))
    )
    scale: int = Field(default=8, ge=1, le=64, description="px of the field per px of the layout")
    stain_of: Path | None = None
    mpp: float = Field(default=1.0, ge=0.5, le=2.0)
    seed: Seed = 0


class ScaledLayout:
    """A coarse map, enlarged window by window with smooth borders."""

    def __init__(self, labels: NDArray[np.uint8], scale: int) -> None:
        Layout(labels)
        self._labels, self._scale = labels, scale

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the field in px."""
        return self._labels.shape[1] * self._scale, self._labels.shape[0] * self._scale

    def window(self, x: int, y: int, size: int) -> Layout:
        """As `Layouts.window`."""
        import cv2

        coarse, scale = self._labels, self._scale
        if scale == 1:
            part = _clamped(coarse, y, x, size, size)
            return Layout(part)
        rim = 1
        top, left = y // scale - rim, x // scale - rim
        n = size // scale + 2 * rim + 2
        part = _clamped(coarse, top, left, n, n)
        present = np.unique(part)
        shares = np.stack(
            [
                cv2.resize(
                    (part == c).astype(np.float32), (n * scale, n * scale), interpolation=cv2.INTER_CUBIC
                )
                for c in present
            ]
        )
        fine = present[shares.argmax(0)]
        dy, dx = y - top * scale, x - left * scale
        return Layout(np.ascontiguousarray(fine[dy : dy + size, dx : dx + size]))


def draw_field(studio: Studio, request: FieldRequest, folder: Path) -> SyntheticImage:
    """Draw and write `folder/synthetic/synthetic_field.tiff`; memory does not grow with the height.

    UserError: unknown classes, a side below 512 or above 65,536 px.
    """
    layouts = ScaledLayout(read_map(request.layout), request.scale)
    w, h = layouts.size
    if min(w, h) < MIN_SIDE or max(w, h) > MAX_SIDE:
        raise UserError(
            f"The field would be {w} x {h} px: choose --scale for sides of {MIN_SIDE} to {MAX_SIDE}."
        )
    code = stain_code(read_picture(request.stain_of)) if request.stain_of else None
    conditions = Conditions(stain=code, mpp=request.mpp)
    origin = Origin(
        task="field",
        title=f"Field of {w} x {h} px from a coarse layout",
        reason="asked for by the user",
        request={**request.model_dump(mode="json"), **conditions.given},
        seed=request.seed,
        generator=studio.generator.id,
        revision=studio.generator.revision,
    )
    rows = field_rows(studio, conditions, layouts, w, h, request.seed)
    return write_synthetic_slide(rows, (h, w), request.mpp, folder, "field", origin)


def _clamped(labels: NDArray[np.uint8], top: int, left: int, h: int, w: int) -> NDArray[np.uint8]:
    rows = np.clip(np.arange(top, top + h), 0, labels.shape[0] - 1)
    columns = np.clip(np.arange(left, left + w), 0, labels.shape[1] - 1)
    return np.ascontiguousarray(labels[np.ix_(rows, columns)])
