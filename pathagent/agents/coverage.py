"""How much of the tissue was seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathagent_tools.core.geometry import Region
    from pathagent_tools.slides import Tissue

PLACES = ("upper left", "upper right", "lower left", "lower right", "centre")
CENTRE = 0.115
"""Up to this share of the slide's side from its middle, a place is called the centre."""


def percent_of_tissue(tissue: Tissue, boxes: Iterable[tuple[int, int, int, int]]) -> float:
    """Share in % of the tissue mask inside the union of level-0 boxes (x, y, width, height)."""
    total = int(tissue.mask.sum())
    if total == 0:
        return 0.0
    seen = np.zeros_like(tissue.mask)
    per_px = tissue.level0_per_px
    for x, y, width, height in boxes:
        rows = slice(max(0, round(y / per_px)), max(0, round((y + height) / per_px)))
        columns = slice(max(0, round(x / per_px)), max(0, round((x + width) / per_px)))
        seen[rows, columns] = True
    return round(100 * float((seen & tissue.mask).sum()) / total, 2)


def place_of(tissue: Tissue, region: Region) -> str:
    """Where a region lies on the slide as its overview shows it, in one of `PLACES`."""
    height, width = tissue.mask.shape
    x, y = (value / tissue.level0_per_px for value in region.center)
    across, down = x / width - 0.5, y / height - 0.5
    if abs(across) < CENTRE and abs(down) < CENTRE:
        return "centre"
    return f"{'upper' if down < 0 else 'lower'} {'left' if across < 0 else 'right'}"
