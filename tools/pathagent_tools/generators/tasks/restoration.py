"""Artifacts are painted over: what a mask covers is drawn anew, the rest stays as it is (IMG-09)."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.conditions import Conditions, Reference, stain_code
from pathagent_tools.generators.sources import Source, read_mask
from pathagent_tools.generators.studio import Drawn, Studio
from pathagent_tools.generators.tasks.patches import Seed

Method = Literal["generator", "telea"]
DEFAULT: Final[Method] = "telea"
"""Better on real tissue by the card's table; on phantoms the generator is far better."""
RADIUS: Final = 5
MAX_COVER: Final = 0.9


class RestoreRequest(Frozen):
    """Fold, pen, blur or bubble, marked by a mask, is replaced by what may have been there: a guess."""

    source: Source
    mask: Path = Field(description="PNG of the picture's size, white where it is to be repaired")
    method: Method = DEFAULT
    seed: Seed = 0


def draw_restored(studio: Studio, request: RestoreRequest) -> Drawn:
    """The picture before and after; unmasked pixels are identical. UserError for huge masks."""
    image = request.source.read()
    mask = read_mask(request.mask, image)
    restored = restore(studio, image, mask, request.source.mpp, request.method, request.seed)
    return Drawn(
        task="restore",
        title=f"Repaired by {request.method}: a guess, not what was under it",
        images=(image, restored),
        captions=("as given", f"masked area drawn anew ({request.method})"),
        words=({}, {}),
        request=request.model_dump(mode="json"),
        seed=request.seed,
        mpp=request.source.mpp,
        synthetic=(False, True),
        numbers={"masked": round(float(mask.mean()), 4), "unmasked_identical": bool(
            np.array_equal(image[~mask], restored[~mask])
        )},
        columns=2,
        classical="" if request.method == "generator" else request.method,
    )  # fmt: skip


def restore(
    studio: Studio, image: Image, mask: NDArray[np.bool_], mpp: float, method: Method, seed: int = 0
) -> Image:
    """The image with its masked pixels replaced."""
    if mask.mean() > MAX_COVER:
        raise UserError(f"The mask covers {mask.mean():.0%} of the picture: too little is left to go by.")
    if method == "telea":
        return telea(image, mask)
    out, todo = image.copy(), mask.copy()
    px = studio.generator.px
    if min(image.shape[:2]) < px:
        raise UserError(f"The picture needs at least {px} px a side for the generator: use --method telea.")
    code = stain_code(image[~mask][None, :])
    for y, x in _windows(mask, px):
        part, holes = out[y : y + px, x : x + px], todo[y : y + px, x : x + px]
        if not holes.any():
            continue
        told = Conditions(stain=code, reference=Reference(part.copy(), ~holes, "artifact"), mpp=mpp)
        part[:] = studio.draw([told], [seed])[0]
        todo[y : y + px, x : x + px] = False
    return out


def telea(image: Image, mask: NDArray[np.bool_]) -> Image:
    """Inpainting by fast marching (Telea 2004), as OpenCV has it."""
    import cv2

    return np.asarray(
        cv2.inpaint(np.ascontiguousarray(image), mask.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA)
    )


def _windows(mask: NDArray[np.bool_], px: int) -> list[tuple[int, int]]:
    """Windows (y, x) that cover the mask, half overlapping, so that each sees something known."""
    h, w = mask.shape
    step = px // 2
    ys = sorted({min(y, h - px) for y in range(0, h, step)})
    xs = sorted({min(x, w - px) for x in range(0, w, step)})
    return [(y, x) for y in ys for x in xs if mask[y : y + px, x : x + px].any()]
