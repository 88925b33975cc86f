"""A second, closer scan: tiles at half steps around the places where the first one found most.

A lesion smaller than a tile may lie on the border of four, and each then shows a little of it. Half a step to
every side brings it into one. Only the best places are scanned again, so it costs the same on any slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.reading import anomaly, hints, suspicion
from pathagent_tools.encoders.scan import TileFeatures, encode_at
from pathagent_tools.slides.slide import Slide

PLACES: Final = 24
"""Tiles of the first scan around which the second one looks: up to eight new tiles each."""


@dataclass(frozen=True)
class ClosePlaces:
    """Tiles of both scans, those of the first one first: [M] in every field.

    `coords` int64 [M, 2]: level-0 top-left. `features` float32 [M, D]. `anomaly`, `suspicion`, `hints`: see
    `reading`. `first`: how many are of the first scan.
    """

    coords: NDArray[np.int64]
    features: NDArray[np.float32]
    anomaly: NDArray[np.float32]
    suspicion: NDArray[np.float32]
    hints: list[str]
    first: int


def scan_closer(slide: Slide, scanned: TileFeatures, encoder: SlideEncoder) -> ClosePlaces:
    """Both scans of a slide. Raises SlideError where it cannot be read."""
    best = np.argsort(-suspicion(scanned.features, encoder), kind="stable")[:PLACES]
    coords = half_steps(scanned.coords, best, scanned.size_level0, slide.bounds)
    features = np.concatenate([scanned.features, encode_at(slide, coords, scanned.spec, encoder)])
    return ClosePlaces(
        coords=np.concatenate([scanned.coords, coords]),
        features=features,
        anomaly=anomaly(features, encoder, among=scanned.features),
        suspicion=suspicion(features, encoder, among=scanned.features),
        hints=hints(features, encoder),
        first=len(scanned),
    )


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
