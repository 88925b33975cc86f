"""How much of the tissue was seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathagent_tools.core.geometry import Region
    from pathagent_tools.slides import Tissue

PLACES = ("upper left", "upper right", "lower left", "lower right", "centre")


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
    """Where a region lies within the box of all tissue: one of `PLACES`, the words that models know."""
    rows, columns = np.nonzero(tissue.mask)
    if len(rows) == 0:
        return "centre"
    x, y = (value / tissue.level0_per_px for value in region.center)
    across = (x - columns.min()) / max(1, columns.max() + 1 - columns.min())
    down = (y - rows.min()) / max(1, rows.max() + 1 - rows.min())
    if abs(across - 0.5) < 1 / 6 and abs(down - 0.5) < 1 / 6:
        return "centre"
    return f"{'upper' if down < 0.5 else 'lower'} {'left' if across < 0.5 else 'right'}"
