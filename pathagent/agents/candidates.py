"""Places worth a look: tiles of the scan ranked by relevance, anomaly and novelty, spread apart.

The model never gives coordinates. It chooses among the candidates made here, by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Candidate, Evidence

if TYPE_CHECKING:
    from pathagent.open_slide import OpenSlide

MAX_CANDIDATES: Final = 12
MAX_OVERLAP: Final = 0.3
"""Two looks never share more than this (intersection over union)."""
MIN_TISSUE: Final = 0.5
SOME_TISSUE: Final = 0.25
"""Where no place has `MIN_TISSUE` (a tiny biopsy), places with this much will do."""
NEW_PIECES: Final = 3
"""So many of the places that are offered lie in pieces of tissue that nobody has looked at, if there are."""
PALE: Final = ("adipose", "mucin")
STANDS_OUT: Final = 0.5
"""Anomaly of a place that is looked at although most of it is glass: a lesion may lie at the edge."""
MAX_PEN: Final = 0.03
"""Places with more pen ink than this are looked at only where there are no others: ink misleads."""
NEUTRAL: Final = 0.5
LESION: Final = ("invasive tumour", "dysplastic epithelium")

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """How an acquisition weighs its parts."""

    relevance: float
    anomaly: float
    novelty: float


FIRST_ROUND: Final = Weights(relevance=0.0, anomaly=0.7, novelty=0.3)
"""Question-free: what stands out, spread over kinds of tissue."""
SEARCH: Final = Weights(relevance=0.15, anomaly=0.9, novelty=0.1)
"""While no look has shown a lesion: what is most suspicious, wherever it lies."""
LATER_ROUNDS: Final = Weights(relevance=0.45, anomaly=0.35, novelty=0.2)
EXPLORE: Final = Weights(relevance=0.0, anomaly=0.6, novelty=0.4)


@dataclass(frozen=True)
class Pool:
    """The places of one slide that may be looked at, [N] in every field.

    regions: looks centred on tiles. vectors: [N, D] unit embeddings, centred on the slide's mean.
    suspicion: what a search goes by; equals the anomaly where there was no closer scan.
    pieces: which piece of tissue each lies in, -1 for none.
    """

    regions: list[Region]
    vectors: NDArray[np.float32]
    anomaly: Scores
    relevance: Scores
    hints: list[str]
    suspicion: Scores
    pieces: NDArray[np.intp]


def look_at(opened: OpenSlide, x: float, y: float, tile_px: int, tile_mpp: float) -> Region:
    """A look of `tile_px` at `tile_mpp` centred on level-0 (x, y), moved inside the scanned bounds."""
    slide = opened.slide
    mpp = max(tile_mpp, slide.mpp)
    left, top, width, height = slide.bounds
    side = min(round(tile_px * mpp / slide.mpp), width, height)
    return Region(
        slide=slide.id,
        x=int(min(max(round(x - side / 2), left), left + width - side)),
        y=int(min(max(round(y - side / 2), top), top + height - side)),
        width=side,
        height=side,
        mpp=mpp,
    )


def make_pool(
    opened: OpenSlide, *, tile_px: int, tile_mpp: float, goal: str | None, known: bool, close: bool = False
) -> Pool:
    """Every scanned tile that lies on tissue, with its scores.

    goal: words to rank by, None for a question-free round. known: False where the encoder does not know
    such tissue; its class names would then be guesses and are left out. close: the tiles of the closer scan
    around the best places too, where the encoder knows the tissue.
    """
    close = close and known
    scan = opened.close if close else opened.features
    half = opened.features.size_level0 / 2
    looks = [look_at(opened, x + half, y + half, tile_px, tile_mpp) for x, y in scan.coords]
    words = opened.close.hints if close else opened.hints if known else []
    hints = words or ["unlike the rest of the slide"] * len(looks)
    relevance = _relevance(opened, goal, close=close) if goal else np.full(len(looks), NEUTRAL)
    anomaly = np.asarray(opened.close.anomaly if close else opened.anomaly, dtype=np.float64)
    keep = _on_tissue(opened, looks, hints, anomaly, goal)
    suspicion = np.asarray(opened.close.suspicion, dtype=np.float64) if close else anomaly
    return Pool(
        regions=[looks[i] for i in keep],
        vectors=_directions(scan.features, len(opened.features.coords))[keep],
        anomaly=anomaly[keep],
        relevance=np.asarray(relevance, dtype=np.float64)[keep],
        hints=[hints[i] for i in keep],
        suspicion=suspicion[keep],
        pieces=opened.tissue.pieces_at(np.array([looks[i].center for i in keep]).reshape(-1, 2)),
    )


def _relevance(opened: OpenSlide, goal: str, *, close: bool) -> NDArray[np.float32]:
    return opened.relevance(goal, close=True) if close else opened.relevance(goal)


def _on_tissue(
    opened: OpenSlide, looks: Sequence[Region], hints: Sequence[str], anomaly: Scores, goal: str | None
) -> NDArray[np.intp]:
    """Places with enough tissue. What stands out, and fat and mucin that the goal names, need less."""
    if not looks:
        return np.zeros(0, np.intp)
    boxes = np.array([[r.x, r.y, r.width, r.height] for r in looks], dtype=np.int64)
    share, pen = opened.tissue.fractions(boxes), opened.tissue.pen_fractions(boxes)
    for least, most in ((MIN_TISSUE, MAX_PEN), (MIN_TISSUE, 1.0), (SOME_TISSUE, 1.0)):
        enough = (share >= least) & (pen <= most)
        if enough.any():
            wanted = np.array([h in PALE and h in (goal or "") for h in hints]) | (anomaly >= STANDS_OUT)
            return np.flatnonzero(enough | (wanted & (share >= SOME_TISSUE) & (pen <= most)))
    return np.zeros(0, np.intp)


def _directions(features: NDArray[np.float32], first: int) -> NDArray[np.float32]:
    """Unit vectors of what sets each tile apart from the slide's mean, that of the `first` tiles."""
    if len(features) == 0:
        return features
    centred = features - features[:first].mean(0)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(norms, 1e-6), dtype=np.float32)


def nearest(pool: Pool, region: Region) -> int:
    """Index of the pool's place closest to a region."""
    centres = np.array([r.center for r in pool.regions])
    return int(np.argmin(((centres - np.array(region.center)) ** 2).sum(1)))


def near_lesion(pool: Pool, looked: Sequence[Evidence]) -> Scores:
    """[N] 0..1: likeness to places that the describing model called tumour or dysplasia; 0 without any."""
    seen = [nearest(pool, e.region) for e in looked if e.findings and e.findings.tissue in LESION]
    if not seen or not pool.regions:
        return np.zeros(len(pool.regions))
    return np.asarray(np.clip((pool.vectors @ pool.vectors[seen].T).max(1), 0, 1), dtype=np.float64)


def rank(
    pool: Pool, looked: Sequence[Region], weights: Weights, count: int, *, search: int = 0
) -> list[tuple[int, float, float]]:
    """Greedy choice of up to `count` places: (index, acquisition, novelty), best first.

    Each pick lowers the novelty of what resembles it, and rules out what overlaps it or an earlier look.
    search: so many picks at first go by suspicion (`SEARCH`), whatever the weights. The last picks go to
    pieces of tissue without a look or a pick, one each, at most `NEW_PIECES`.
    """
    if not pool.regions:
        return []
    boxes = np.array([[r.x, r.y, r.width, r.height] for r in pool.regions], dtype=np.int64)
    free = np.ones(len(pool.regions), bool)
    novelty = np.ones(len(pool.regions))

    def visit(region: Region, index: int) -> None:
        free[_overlaps(boxes, region) > MAX_OVERLAP] = False
        likeness = pool.vectors @ pool.vectors[index]
        np.minimum(novelty, np.clip(1 - likeness, 0, 1), out=novelty)

    for region in looked:
        visit(region, nearest(pool, region))
    fixed = weights.relevance * pool.relevance + weights.anomaly * pool.anomaly
    sought = SEARCH.relevance * pool.relevance + SEARCH.anomaly * pool.suspicion
    chosen: list[tuple[int, float, float]] = []
    unseen = set(pool.pieces.tolist()) - {-1} - {int(pool.pieces[nearest(pool, r)]) for r in looked}
    while len(chosen) < count and free.any():
        searching = len(chosen) < search
        by = sought + SEARCH.novelty * novelty if searching else fixed + weights.novelty * novelty
        open_to = free & np.isin(pool.pieces, list(unseen))
        if count - len(chosen) > min(len(unseen), NEW_PIECES) or not open_to.any():
            open_to = free
        score = np.where(open_to, by, -np.inf)
        best = int(np.argmax(score))
        unseen.discard(int(pool.pieces[best]))
        chosen.append((best, float(score[best]), float(novelty[best])))
        visit(pool.regions[best], best)
        free[best] = False
    return chosen


def in_order_of(pool: Pool, scores: Scores, looked: Sequence[Region], count: int) -> list[int]:
    """Up to `count` places, the highest score first, none overlapping another or an earlier look much."""
    if not pool.regions:
        return []
    boxes = np.array([[r.x, r.y, r.width, r.height] for r in pool.regions], dtype=np.int64)
    free = np.ones(len(pool.regions), bool)
    for region in looked:
        free[_overlaps(boxes, region) > MAX_OVERLAP] = False
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if free[index] and len(chosen) < count:
            chosen.append(int(index))
            free[_overlaps(boxes, pool.regions[index]) > MAX_OVERLAP] = False
    return chosen


def _overlaps(boxes: NDArray[np.int64], region: Region) -> Scores:
    """Intersection over union of [N, 4] boxes (x, y, width, height) with one region: `Region.overlap`."""
    x, y, width, height = boxes.T
    across = np.minimum(x + width, region.x + region.width) - np.maximum(x, region.x)
    down = np.minimum(y + height, region.y + region.height) - np.maximum(y, region.y)
    shared = np.clip(across, 0, None) * np.clip(down, 0, None)
    return np.asarray(shared / (width * height + region.width * region.height - shared), dtype=np.float64)


def candidate(pool: Pool, index: int, novelty: float, number: int) -> Candidate:
    """The record that a model reads."""
    return Candidate(
        id=f"K{number}",
        region=pool.regions[index],
        hint=pool.hints[index],
        relevance=round(float(np.clip(pool.relevance[index], 0, 1)), 3),
        anomaly=round(float(np.clip(pool.anomaly[index], 0, 1)), 3),
        novelty=round(float(np.clip(novelty, 0, 1)), 3),
    )
