"""Regions of a report against the truth of a phantom."""

from __future__ import annotations

from shapely.geometry import Polygon, box

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report
from pathagent_tools.phantom.truth import PhantomTruth


def looked_at(report: Report, truth: PhantomTruth) -> bool | None:
    """Whether any look overlaps a lesion by at least 2 % of the look's area; None without a lesion."""
    if not truth.lesion_polygons:
        return None
    return any(touches_lesion(e.region, truth) for e in report.evidence)


def touches_lesion(region: Region, truth: PhantomTruth) -> bool:
    """Whether a lesion covers at least 2 % of the region."""
    area = box(region.x, region.y, region.x + region.width, region.y + region.height)
    lesions = (Polygon(ring).buffer(0) for ring in truth.lesion_polygons)
    return any(lesion.intersection(area).area >= 0.02 * area.area for lesion in lesions)


def on_background(region: Region, truth: PhantomTruth) -> bool:
    """Whether less than a tenth of the region is tissue in the truth's class map."""
    classes = truth.tissue_map.array()
    cell = truth.tissue_map.um_per_cell / truth.mpp
    rows = slice(int(region.y / cell), int((region.y + region.height) / cell) + 1)
    columns = slice(int(region.x / cell), int((region.x + region.width) / cell) + 1)
    window = classes[rows, columns]
    return window.size == 0 or float((window != 0).mean()) < 0.1
