"""Simpler ways of looking than the agent's: what it is measured against, behind one switch of the case.

None of them asks a model where to look. Each gives the places of a slide a fixed order; as for the agent,
two looks never overlap much. (`no-memory` is the agent itself, which forgets what it has looked at.)
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent.agents import candidates as places
from pathagent.resources import Resources
from pathagent.state import Case, Navigation
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region

Scores = NDArray[np.float64]
BY_THE_AGENT: Final[tuple[Navigation, ...]] = ("agent", "no-memory")
REASONS: Final[dict[Navigation, str]] = {
    "random": "drawn at random",
    "grid": "next place of an even grid",
    "saliency": "stands out most from the slide",
    "question": "likest to the words of the question",
    "given": "named in advance",
}


def check_navigation(case: Case) -> None:
    """UserError where the way of looking lacks what it goes by."""
    if case.navigation == "question" and not case.question:
        raise UserError("Navigation by the question alone needs a question: --question 'Is there tumour?'")
    if case.navigation == "given" and not case.places:
        raise UserError("Navigation 'given' needs the places to look at. Use navigation='agent'.")


def next_regions(
    resources: Resources, case: Case, slides: Sequence[str], looked: Sequence[Region], count: int
) -> list[tuple[Region, str]]:
    """Up to `count` further regions with the reason for each; slides take turns."""
    if case.navigation == "given":
        seen = {(r.slide, r.x, r.y, r.width) for r in looked}
        left = [r for r in case.places if (r.slide, r.x, r.y, r.width) not in seen and r.slide in slides]
    else:
        ranked = [_ranked(resources, case, s, [r for r in looked if r.slide == s], count) for s in slides]
        left = [r[i] for i in range(count) for r in ranked if i < len(r)]
    return [(region, REASONS[case.navigation]) for region in left[:count]]


def _ranked(
    resources: Resources, case: Case, slide_id: str, looked: Sequence[Region], count: int
) -> list[Region]:
    pool = places.make_pool(
        resources.slide(slide_id),
        tile_px=resources.vlm.tile_px,
        tile_mpp=resources.vlm.tile_mpp,
        goal=case.question if case.navigation == "question" else None,
        known=resources.encoder_knows(slide_id),
    )
    by: dict[Navigation, Callable[[], Scores]] = {
        "random": lambda: _at_random(pool, case.seed, resources.slide(slide_id).slide.digest),
        "grid": lambda: _on_a_grid(pool, case.budget.looks),
        "saliency": lambda: pool.anomaly,
        "question": lambda: pool.relevance,
    }
    return [pool.regions[i] for i in places.in_order_of(pool, by[case.navigation](), looked, count)]


def _at_random(pool: places.Pool, seed: int, digest: str) -> Scores:
    return np.random.default_rng([seed, zlib.crc32(digest.encode())]).random(len(pool.regions))


def _on_a_grid(pool: places.Pool, looks: int) -> Scores:
    """Highest for the place nearest the middle of each cell of the coarsest grid of `looks` tissue cells.

    Cells that hold more tissue come first.
    """
    centres = np.array([r.center for r in pool.regions], dtype=np.float64).reshape(-1, 2)
    scores = np.zeros(len(centres))
    if len(centres) == 0:
        return scores
    corner, side = centres.min(0), float(np.ptp(centres, axis=0).max()) + 1
    smallest = float(pool.regions[0].width)
    while True:
        cells = np.floor((centres - corner) / side).astype(np.int64)
        kinds, of, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        if len(kinds) >= looks or side <= smallest:
            break
        side *= 0.95
    away = np.linalg.norm(centres - (corner + (cells + 0.5) * side), axis=1)
    for cell in range(len(kinds)):
        inside = np.flatnonzero(of == cell)
        scores[inside[np.argmin(away[inside])]] = counts[cell]
    return scores
