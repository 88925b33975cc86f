"""Magnification: which looks are taken again at a finer scale, which part of them, and why.

A look at the model's usual scale shows how tissue is built, its pair at the finer scale shows cells. Low
power comes first: only part of a look that there is can be looked at more closely, and not without a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent.agents import candidates as places
from pathagent.resources import Resources
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence

MOST: Final = 2
"""Closer looks of one round."""
SURE: Final = 0.5
"""How surely the worst part of a look is diseased to the encoder for it to be settled by a closer look."""


def closer_looks(resources: Resources, looked: Sequence[Evidence], count: int) -> list[tuple[Region, str]]:
    """Up to `count` (at most `MOST`) parts of looks to be seen at the profile's finer scale, with reasons.

    First, what the encoder's map takes for disease in a look that the model describes as something else;
    then the nuclei of a lesion, once. A look that has a closer one in it is not taken again, nor one under an
    artifact, which misleads both, nor the same place from two looks. None where the profile names no finer
    scale, or the slide was scanned too coarsely for it.
    """
    mpp = resources.profile.vlm.closer_mpp
    if mpp is None or count < 1:
        return []
    open_to = [e for e in _wide(looked, mpp) if resources.slide(e.region.slide).slide.mpp <= 1.02 * mpp]
    settled = [_unsettled(resources, e, mpp) for e in open_to if not _of_lesion(e)]
    found = [s[1:] for s in sorted((s for s in settled if s), key=lambda s: -s[0])]
    lesions = [e for e in open_to if _of_lesion(e)]
    if lesions and not _nuclei_seen(looked, mpp):
        best = max(lesions, key=lambda e: e.confidence or 0.0)
        assert best.findings
        reason = f"closer at {best.id}, to see the nuclei of its {best.findings.tissue} at {mpp:g} µm/px"
        found.append((_part(resources, best, mpp)[1], reason))
    near = [e.region for e in looked if e.region.mpp <= 1.02 * mpp]
    chosen: list[tuple[Region, str]] = []
    for region, reason in found:
        taken = [*near, *(r for r, _ in chosen)]
        if len(chosen) < min(count, MOST) and all(region.overlap(r) <= places.MAX_OVERLAP for r in taken):
            chosen.append((region, reason))
    return chosen


def apart(looked: Sequence[Evidence]) -> list[Evidence]:
    """The looks without those that show part of a wider one again: what is counted in fields counts once."""
    return [e for e in looked if not any(_holds(wider.region, e.region) for wider in looked)]


def _wide(looked: Sequence[Evidence], mpp: float) -> list[Evidence]:
    """Described looks coarser than `mpp`, free of artifacts, in which nobody has looked more closely."""
    sound = [e for e in looked if e.findings and e.findings.artifact == "none"]
    coarse = [e for e in sound if e.region.mpp > 1.02 * mpp]
    return [e for e in coarse if not any(_holds(e.region, other.region) for other in looked)]


def _holds(wider: Region, region: Region) -> bool:
    """Whether a region shows part of a wider one at a finer scale."""
    return wider.width > region.width and wider.mpp > region.mpp and wider.meets(region)


def _of_lesion(look: Evidence) -> bool:
    return look.findings is not None and look.findings.tissue in places.LESION


def _nuclei_seen(looked: Sequence[Evidence], mpp: float) -> bool:
    return any(_of_lesion(e) and e.region.mpp <= 1.02 * mpp for e in looked)


def _unsettled(resources: Resources, look: Evidence, mpp: float) -> tuple[float, Region, str] | None:
    """(how sure the encoder is, where, why) of a look with disease to the encoder and none to the model."""
    sure, region = _part(resources, look, mpp)
    if sure < SURE or look.findings is None:
        return None
    said = look.findings.tissue
    why = f"closer at {look.id}: part of it is disease to the encoder, and it was described as {said}"
    return sure, region, f"{why}; seen at {mpp:g} µm/px"


def _part(resources: Resources, look: Evidence, mpp: float) -> tuple[float, Region]:
    """The most diseased part of a look as one at `mpp` shows it, and how surely it is so; else its middle."""
    from pathagent_tools.encoders.tissue_map import worst

    opened, region = resources.slide(look.region.slide), look.region
    sick = opened.disease_map(region)
    sure, (x, y) = 0.0, region.center
    tile_px = resources.vlm.tile_px
    if sick is not None:
        sure = worst(sick)
        down, across = _densest(sick, tile_px * mpp / (region.width * opened.slide.mpp))
        x, y = region.x + across * region.width, region.y + down * region.height
    return sure, places.look_at(opened, x, y, tile_px, mpp)


def _densest(sick: NDArray[np.float32], share: float) -> tuple[float, float]:
    """Middle (down, across; 0..1) of the window of `share` of each side whose cells are most diseased."""
    known = np.nan_to_num(sick)
    height, width = (max(1, round(share * n)) for n in known.shape)
    windows = np.lib.stride_tricks.sliding_window_view(known, (height, width)).mean((-1, -2))
    row, column = np.unravel_index(int(windows.argmax()), windows.shape)
    return (row + height / 2) / known.shape[0], (column + width / 2) / known.shape[1]
