"""A second, closer scan: the best tiles of the first one cell by cell, and at half steps around them.

A lesion smaller than a tile hardly moves the embedding of the whole tile, but fills cells of its tissue map;
and it may lie on the border of four tiles, where half a step to every side brings it into one. Only the best
places are scanned again, so it costs the same on any slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.reading import anomaly, hints, soundness, suspicion
from pathagent_tools.encoders.scan import TileFeatures, tiles_at
from pathagent_tools.encoders.tissue_map import diseased, head_of, tissue_shares, worst
from pathagent_tools.slides.slide import Slide

PLACES: Final = 24
"""Tiles of the first scan around which the second one looks: up to eight new tiles each."""
MAPPED: Final = 256
"""Tiles of the first scan, the most suspicious as wholes, whose tissue map is looked at."""
PER_DEVIATION: Final = 0.1
"""Weight of a mean deviation of the whole tile's suspicion beside its anomaly, which is 0..1."""
BESIDE_CELLS: Final = 0.02
"""The same beside its cells."""
UNSOUND: Final = 0.5
"""What an artifact takes off the cells' 0..1: crush and folds look like disease. What is surely sick under
one comes after what is so elsewhere, and before what is surely well."""


@dataclass(frozen=True)
class ClosePlaces:
    """Tiles of both scans, those of the first one first: [M] in every field.

    `coords` int64 [M, 2]: level-0 top-left. `features` float32 [M, D]. `anomaly`, `hints`: see `reading`.
    `suspicion` float32 [M]: what a search goes by, about 0..1. `first`: how many are of the first scan.
    """

    coords: NDArray[np.int64]
    features: NDArray[np.float32]
    anomaly: NDArray[np.float32]
    suspicion: NDArray[np.float32]
    hints: list[str]
    first: int


def scan_closer(slide: Slide, scanned: TileFeatures, encoder: SlideEncoder) -> ClosePlaces:
    """Both scans of a slide. Raises SlideError where it cannot be read.

    A tile is as suspicious as its most diseased cells, where the encoder has a tissue map, and less so under
    an artifact; else as it is anomalous. That the whole tile looks more like disease than its slide does
    counts besides.
    """
    whole, mapped = suspicion(scanned.features, encoder), head_of(encoder) is not None
    share = np.zeros(len(scanned), np.float32)
    if mapped:
        shown = np.argsort(-whole, kind="stable")[:MAPPED]
        share[shown] = _diseased(encoder, tiles_at(slide, scanned.coords[shown], scanned.spec))
        share -= UNSOUND * (1 - soundness(scanned.features, encoder))
    found = share + BESIDE_CELLS * whole if mapped else whole
    best = np.argsort(-found, kind="stable")[:PLACES]
    coords = half_steps(scanned.coords, best, scanned.size_level0, slide.bounds)
    tiles = tiles_at(slide, coords, scanned.spec)
    features = np.concatenate([scanned.features, encoder.encode_tiles(tiles)])
    odd = anomaly(features, encoder, among=scanned.features)
    whole = suspicion(features, encoder, among=scanned.features)
    if mapped:
        new = _diseased(encoder, tiles) - UNSOUND * (1 - soundness(features[len(scanned) :], encoder))
        found = np.concatenate([share, new]) + BESIDE_CELLS * whole
    else:
        found = odd + PER_DEVIATION * whole
    return ClosePlaces(
        coords=np.concatenate([scanned.coords, coords]),
        features=features,
        anomaly=odd,
        suspicion=np.asarray(found, np.float32),
        hints=hints(features, encoder),
        first=len(scanned),
    )


def _diseased(encoder: SlideEncoder, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N] 0..1: how surely the most diseased cells of each tile are so."""
    return np.array([worst(sick) for sick in diseased(*tissue_shares(encoder, tiles))], np.float32)


def half_steps(
    coords: NDArray[np.int64], best: NDArray[np.intp], side: int, bounds: tuple[int, int, int, int]
) -> NDArray[np.int64]:
    """[M, 2] corners half a tile away from the tiles `best` of `coords`, each once, inside the bounds."""
    half = side // 2
    steps = [(dx, dy) for dy in (-half, 0, half) for dx in (-half, 0, half) if dx or dy]
    around = (coords[best][:, None] + np.array(steps, np.int64)[None]).reshape(-1, 2)
    left, top, width, height = bounds
    inside = (around >= (left, top)).all(1) & (around + side <= (left + width, top + height)).all(1)
    known = {(int(x), int(y)) for x, y in coords}
    new = sorted({(int(x), int(y)) for x, y in around[inside]} - known)
    return np.array(new, np.int64).reshape(-1, 2)
