"""Regions of a report against the truth of a phantom."""

from __future__ import annotations

from typing import Any

from shapely.geometry import Polygon, box

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report


def looked_at(report: Report, truth: Any) -> bool | None:
    """Whether any look overlaps a lesion by at least 2 % of the look's area; None without a lesion."""
    lesions = [Polygon(ring).buffer(0) for ring in truth.lesions]
    if not lesions:
        return None
    return any(
        lesion.intersection(_box(e.region)).area >= 0.02 * _box(e.region).area
        for e in report.evidence
        for lesion in lesions
    )


def on_background(region: Region, truth: Any) -> bool:
    """Whether less than a tenth of the region is tissue in the truth's tissue map."""
    return float(truth.tissue_share(region.x, region.y, region.width, region.height)) < 0.1


def _box(region: Region) -> Polygon:
    return box(region.x, region.y, region.x + region.width, region.y + region.height)
