"""Patches by words, dials or an example, and a strip along one dial (IMG-01, 02, 03, 13)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.vocabulary import (
    Amount,
    Architecture,
    Degree,
    Grade,
    Presence,
    Stain,
    Tissue,
)
from pathagent_tools.generators.conditions import Conditions, Reference, stain_code
from pathagent_tools.generators.prompt import read_prompt
from pathagent_tools.generators.read_back import nuclear_numbers, read_back
from pathagent_tools.generators.sources import Source, read_picture
from pathagent_tools.generators.studio import Drawn, Studio

MAX_IMAGES: Final = 16
Seed = Annotated[int, Field(ge=0, lt=2**31, description="the same seed draws the same images")]


class Words(Frozen):
    """What to draw, in words of the closed vocabulary; each may be left out. A prompt sets several."""

    prompt: str | None = Field(default=None, description="e.g. 'high-grade solid carcinoma, pale stain'")
    tissue: Tissue | None = None
    architecture: Architecture | None = None
    nuclear_grade: Grade | None = None
    mitoses: Amount | None = None
    necrosis: Presence | None = None
    inflammation: Degree | None = None
    stain: Stain | None = None

    def slots(self) -> dict[str, str]:
        """The slots that are set. UserError for a prompt that is empty or not understood."""
        said = read_prompt(self.prompt) if self.prompt is not None else {}
        given = self.model_dump(include=set(Words.model_fields) - {"prompt"}, exclude_none=True)
        return {**said, **given}


class PatchRequest(Words):
    """Patches by words, dials, stain of a reference, or as variants of an example; or by nothing at all."""

    n: int = Field(default=4, ge=1, le=MAX_IMAGES)
    density: float | None = Field(default=None, ge=0, le=20000, description="nuclei per mm2")
    size: float | None = Field(default=None, gt=0, le=300, description="mean epithelial nuclear area, um2")
    pleomorphism: float | None = Field(default=None, ge=0, le=1, description="sd / mean of nuclear area")
    mpp: float = Field(default=1.0, ge=0.5, le=2.0, description="um per px")
    stain_of: Path | None = Field(default=None, description="image whose stain the patches should have")
    like: Path | None = Field(default=None, description="image of which variants are wanted")
    seed: Seed = 0


class StripRequest(Words):
    """One dial turned up, step by step, under the same noise."""

    dial: Literal["grade", "density", "size", "pleomorphism"] = "grade"
    steps: int = Field(default=5, ge=3, le=8)
    mpp: float = Field(default=1.0, ge=0.5, le=2.0)
    seed: Seed = 0


STRIP_RANGE: Final = {"density": (500.0, 9000.0), "size": (30.0, 100.0), "pleomorphism": (0.08, 0.35)}
_GRADES: Final[tuple[dict[str, Any], ...]] = (
    {"tissue": "benign epithelium", "architecture": "regular glands", "nuclear_grade": "low"},
    {"tissue": "dysplastic epithelium", "architecture": "crowded glands", "nuclear_grade": "intermediate"},
    {"tissue": "dysplastic epithelium", "architecture": "crowded glands", "nuclear_grade": "high"},
    {"tissue": "invasive tumour", "architecture": "irregular glands", "nuclear_grade": "intermediate"},
    {"tissue": "invasive tumour", "architecture": "irregular glands", "nuclear_grade": "high"},
)


def draw_patches(studio: Studio, request: PatchRequest) -> Drawn:
    """`n` patches of the generator's field size."""
    words = request.slots()
    dials = {
        d: getattr(request, d) for d in ("density", "size", "pleomorphism") if getattr(request, d) is not None
    }
    code = stain_code(read_picture(request.stain_of)) if request.stain_of else None
    reference = _example(request.like, studio.generator.px) if request.like else None
    conditions = Conditions(words=words, dials=dials, stain=code, reference=reference, mpp=request.mpp)
    seeds = [request.seed * 1009 + i for i in range(request.n)]
    laid_out = studio.laid_out([conditions] * request.n, seeds)
    images = studio.draw(laid_out, seeds)
    asked = [words] * request.n
    found = read_back(studio.encoder, images, asked, request.mpp)
    said = ", ".join([*words.values(), *(f"{d} {v:g}" for d, v in dials.items())]) or "anything"
    return Drawn(
        task="patches",
        title=f"{'Variants of an example' if request.like else 'Patches'}: {said}",
        images=tuple(images),
        captions=tuple(f"{said}; {_said(f)}" for f in found),
        words=tuple(asked),
        request=laid_out[0].given,
        seed=request.seed,
        mpp=request.mpp,
        read_back=tuple(found),
        layouts=tuple(c.layout for c in laid_out),
    )


def draw_strip(studio: Studio, request: StripRequest) -> Drawn:
    """The same noise under a dial that is turned from low to high.

    On a layout for each step where the generator has a library: such steps are other fields, not one.
    """
    words, mpp = request.slots(), request.mpp
    if request.dial == "grade":
        clash = [s for s in ("tissue", "architecture", "nuclear_grade") if s in words]
        if clash:
            raise UserError(f"The grade strip sets {clash[0]} itself: leave it out, or turn another dial.")
        chosen = np.linspace(0, len(_GRADES) - 1, request.steps).round().astype(int)
        asked = [Conditions(words={**words, **_GRADES[i]}, mpp=mpp) for i in chosen]
        values = [f"{_GRADES[i]['tissue']}, {_GRADES[i]['nuclear_grade']}" for i in chosen]
    else:
        low, high = STRIP_RANGE[request.dial]
        numbers = np.linspace(low, high, request.steps)
        asked = [Conditions(words=words, dials={request.dial: float(v)}, mpp=mpp) for v in numbers]
        values = [f"{request.dial} {v:.4g}" for v in numbers]
    asked = studio.laid_out(asked, [request.seed] * request.steps)
    images = studio.draw(asked, [request.seed] * request.steps)
    layouts = tuple(c.layout for c in asked)
    on = zip(images, layouts, strict=True)
    measured = [nuclear_numbers(i, mpp, layout) for i, layout in on] if mpp <= 1.0 else []
    told = [f": measured {m[request.dial]:.4g}" if request.dial in m else "" for m in measured]
    claims = [dict(c.words) for c in asked]
    return Drawn(
        task="strip",
        title=f"{request.dial.capitalize()} turned up",
        images=tuple(images),
        captions=tuple(v + t for v, t in zip(values, told or [""] * len(values), strict=True)),
        words=tuple(claims),
        request={"dial": request.dial, "steps": [c.given for c in asked]},
        seed=request.seed,
        mpp=mpp,
        read_back=tuple(read_back(studio.encoder, images, claims, mpp)),
        numbers={"measured": measured},
        columns=request.steps,
        layouts=layouts,
    )


def _example(path: Path, px: int) -> Reference:
    """An example as a coarse copy: its layout guides, its detail is drawn anew."""
    import cv2

    image = Source(path=path).read(px)
    side = min(image.shape[:2])
    y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[y : y + side, x : x + side]
    small = cv2.resize(square, (px // 8, px // 8), interpolation=cv2.INTER_AREA)
    coarse = np.asarray(cv2.resize(small, (px, px), interpolation=cv2.INTER_LINEAR))
    return Reference(coarse, np.ones((px, px), bool), "low resolution")


def _said(found: tuple[Any, ...]) -> str:
    if not found:
        return "not read back"
    return "; ".join(f"read as {f.found}" + ("" if f.agrees else " (not as asked)") for f in found)
