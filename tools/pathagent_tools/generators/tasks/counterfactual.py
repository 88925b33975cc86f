"""The smallest edit of a region that moves the encoder's verdict to another diagnosis (IMG-04).

The places on which the verdict rests are found by hiding one cell after another; areas of growing size
around them are drawn anew with the words of the other diagnosis, and the smallest that moves the verdict
is kept: as the network composes it, else as it paints it on a layout of the generator's library. Outside
the area every pixel is the region's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Image, SlideEncoder
from pathagent_tools.generators.conditions import Conditions, Reference, stain_code
from pathagent_tools.generators.read_back import class_scores, read_back, targets
from pathagent_tools.generators.sources import Source
from pathagent_tools.generators.studio import Drawn, Studio
from pathagent_tools.generators.tasks.patches import Seed, Words

CELLS: Final = 8
"""Cells a side that are hidden one after another."""
SHARES: Final = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Areas that are tried, smallest first."""
FEATHER_PX: Final = 2


class CounterfactualRequest(Words):
    """What would have to change in a region for the other diagnosis? The words say that diagnosis."""

    source: Source
    seed: Seed = 0


def draw_counterfactual(studio: Studio, request: CounterfactualRequest) -> Drawn:
    """`edit_towards` of what the request names. Its errors, and those of the source."""
    words = request.slots()
    check_goal(words)
    image = request.source.read()
    drawn = edit_towards(studio, image, words, mpp=request.source.mpp, seed=request.seed)
    told = {**drawn.request, "source": request.source.model_dump(mode="json")}
    return replace(drawn, request=told)


def edit_towards(studio: Studio, image: Image, words: dict[str, str], *, mpp: float, seed: int) -> Drawn:
    """Region, edit, difference; `numbers` has the scores before and after, and whether the verdict moved.

    UserError where the words name no tissue that the encoder can tell, or the region shows it already.
    """
    from pathagent_tools.encoders.reading import class_keys

    px, goal = studio.generator.px, check_goal(words)
    image = _square(image, px)
    keys = class_keys()
    before = class_scores(studio.encoder, [image], mpp)
    if before is None:
        raise UserError(
            f"The encoder needs a field of {studio.encoder.tile_px * studio.encoder.tile_mpp:g} µm."
        )
    verdict = keys[int(before[0].argmax())]
    if verdict in goal:
        raise UserError(f"The encoder reads this region as {verdict!r} already: ask for another diagnosis.")
    weight = influence(studio.encoder, image, mpp, keys.index(verdict))
    told = Conditions(words=words, stain=stain_code(image), mpp=mpp)
    best = _smallest(studio, told, image, weight, [keys.index(g) for g in goal], seed)
    edited, after, area = best.image, best.scores, best.area
    moved = keys[int(after.argmax())] in goal
    difference = difference_map(image, edited)
    claims: dict[str, str] = {k: v for k, v in words.items() if k in ("tissue", "architecture")}
    numbers: dict[str, Any] = {
        "verdict_before": verdict,
        "verdict_after": keys[int(after.argmax())],
        "moved": moved,
        "area": round(float(area.mean()), 3),
        "layout": best.layout,
        "before": _top(keys, before[0]),
        "after": _top(keys, after),
    }
    said = ", ".join(words.values())
    return Drawn(
        task="counterfactual",
        title=f"What would have to change for: {said}",
        images=(image, edited, difference),
        captions=(
            f"region as given: read as {verdict} {before[0].max():.2f}",
            f"edited towards {said}: read as {numbers['verdict_after']} {after.max():.2f}"
            + ("" if moved else " (verdict NOT moved)"),
            f"difference; {numbers['area']:.0%} of the field was drawn anew"
            + (f", on a layout {best.layout}" if best.layout else ""),
        ),
        words=({}, claims, {}),
        request={"words": words},
        seed=seed,
        mpp=mpp,
        synthetic=(False, True, False),
        read_back=((), read_back(studio.encoder, [edited], [claims], mpp)[0], ()),
        numbers=numbers,
        columns=3,
    )


def check_goal(words: dict[str, str]) -> list[str]:
    """The encoder's classes that the words name. UserError where they name none."""
    goal = targets(words)
    if not {"tissue", "architecture"} & words.keys() or not goal:
        raise UserError("Say which diagnosis the edit should move to, e.g. --tissue 'benign epithelium'.")
    return goal


def influence(encoder: SlideEncoder, image: Image, mpp: float, verdict: int) -> NDArray[np.float32]:
    """[h, w]: how much the verdict's score falls when the place is blurred away; smooth, at least 0."""
    from scipy.ndimage import gaussian_filter

    h, w = image.shape[:2]
    blurred = np.stack([gaussian_filter(image[..., c].astype(np.float32), 10) for c in range(3)], -1)
    ys, xs = np.mgrid[0:h, 0:w]
    hidden, spots = [image], []
    for i in range(CELLS):
        for j in range(CELLS):
            cy, cx = (i + 0.5) * h / CELLS, (j + 0.5) * w / CELLS
            spot = np.exp(-((ys - cy) ** 2 + (xs - cx) ** 2) / (2 * (0.7 * h / CELLS) ** 2))[..., None]
            hidden.append((image * (1 - spot) + blurred * spot).astype(np.uint8))
            spots.append(spot[..., 0])
    scores = class_scores(encoder, hidden, mpp)
    assert scores is not None
    logs = np.log(np.maximum(scores[:, verdict], 1e-6))
    falls = logs[0] - logs[1:]
    weight = np.tensordot(falls - falls.min() + 1e-3, np.stack(spots), 1)
    return np.asarray(gaussian_filter(weight, 0.6 * h / CELLS), np.float32)


@dataclass(frozen=True)
class _Edit:
    """`scores` of the edited image by class; `layout`: whose layout it was painted on, None if no one's."""

    image: Image
    scores: NDArray[np.float32]
    area: NDArray[np.bool_]
    layout: str | None


def _smallest(
    studio: Studio,
    told: Conditions,
    image: Image,
    weight: NDArray[np.float32],
    goal: list[int],
    seed: int,
) -> _Edit:
    """The edit of the smallest area that moves the verdict, else the nearest miss."""
    seeds = [seed * 1009, seed * 1009 + 1]
    asked = [told, studio.laid_out([told], seeds[1:])[0]]
    best: tuple[float, _Edit] | None = None
    for share in SHARES:
        area = weight >= np.quantile(weight, 1 - share)
        reference = Reference(image, ~area, "lesion")
        drawn = studio.draw([one.but(reference=reference) for one in asked], seeds)
        edits = [blend(image, new, area) for new in drawn]
        scores = class_scores(studio.encoder, edits, told.mpp)
        assert scores is not None
        for one, edited, score in zip(asked, edits, scores, strict=True):
            edit = _Edit(edited, score, area, one.layout.source if one.layout else None)
            if int(score.argmax()) in goal:
                return edit
            reached = float(score[goal].sum())
            if best is None or reached > best[0]:
                best = reached, edit
    assert best is not None
    return best[1]


def blend(image: Image, new: Image, area: NDArray[np.bool_]) -> Image:
    """`new` inside the area, fading in over a few pixels from its border; outside nothing changes."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(area)
    alpha = np.clip(depth / FEATHER_PX, 0, 1)[..., None]
    return np.asarray(np.round(image * (1 - alpha) + new * alpha), np.uint8)


def difference_map(image: Image, edited: Image) -> Image:
    """[h, w, 3]: the region in grey, what changed in red."""
    grey = image.astype(np.float32).mean(-1, keepdims=True).repeat(3, -1) * 0.5 + 120
    change = np.abs(image.astype(np.float32) - edited).max(-1, keepdims=True) / 90
    red = np.array([214, 40, 40], np.float32)
    alpha = np.clip(change, 0, 1)
    return np.asarray(np.clip(grey * (1 - alpha) + red * alpha, 0, 255), np.uint8)


def _square(image: Image, px: int) -> Image:
    h, w = image.shape[:2]
    if min(h, w) < px:
        raise UserError(f"The picture is {w} x {h} px: at least {px} px a side are needed.")
    y, x = (h - px) // 2, (w - px) // 2
    return np.ascontiguousarray(image[y : y + px, x : x + px])


def _top(keys: list[str], scores: NDArray[np.float32]) -> dict[str, float]:
    return {keys[i]: round(float(scores[i]), 3) for i in np.argsort(-scores)[:3]}
