"""Regions of a report against the truth of a phantom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shapely.geometry import Polygon, box

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report
from pathagent_tools.phantom.truth import PhantomTruth

LESION_SHARE = 0.02
"""A look is on a lesion where this share of it is lesion."""
TISSUE_SHARE = 0.1
"""A look is on background where less than this share of it is tissue."""


def looked_at(report: Report, truth: PhantomTruth) -> bool | None:
    """Whether any look is on a lesion; None without a lesion."""
    if not truth.lesion_polygons:
        return None
    return any(touches_lesion(e.region, truth) for e in report.evidence)


def touches_lesion(region: Region, truth: PhantomTruth) -> bool:
    """Whether a lesion covers enough of the region."""
    return (
        share_inside((region.x, region.y, region.width, region.height), truth.lesion_polygons) >= LESION_SHARE
    )


def share_inside(look: Sequence[float], outlines: Iterable[Sequence[Sequence[float]]]) -> float:
    """The largest share of a box (x, y, width, height) that one outline covers, all in level-0 px."""
    x, y, width, height = look
    area = box(x, y, x + width, y + height)
    rings = (Polygon(ring).buffer(0) for ring in outlines)
    return max((ring.intersection(area).area / area.area for ring in rings), default=0.0)


def on_background(region: Region, truth: PhantomTruth) -> bool:
    """Whether too little of the region is tissue in the truth's class map."""
    classes = truth.tissue_map.array()
    cell = truth.tissue_map.um_per_cell / truth.mpp
    rows = slice(int(region.y / cell), int((region.y + region.height) / cell) + 1)
    columns = slice(int(region.x / cell), int((region.x + region.width) / cell) + 1)
    window = classes[rows, columns]
    return window.size == 0 or float((window != 0).mean()) < TISSUE_SHARE
