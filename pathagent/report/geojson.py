"""Evidence as regions that QuPath opens (FeatureCollection as `QuPathTypeAdapters` reads it).

QuPath crops a slide to its bounds, so the bounds' corner is taken off every coordinate. Ids come from
the content: the same report gives the same file.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pathagent.report.words import seen
from pathagent_tools.core.files import canonical_json
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Candidate, Evidence, Measurement, Report, SlideRecord
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "evidence.pathagent")
_COLOURS: Final = {
    "Tumor": (200, 0, 0),
    "Stroma": (150, 200, 150),
    "Immune cells": (160, 90, 160),
    "Necrosis": (50, 50, 50),
    "Dysplasia": (230, 120, 0),
    "Other": (255, 200, 0),
    "Region*": (0, 0, 180),
}
_CLASSES: Final = {
    "invasive tumour": "Tumor",
    "stroma": "Stroma",
    "smooth muscle": "Stroma",
    "lymphoid infiltrate": "Immune cells",
    "necrosis": "Necrosis",
}
_SCAN_CLASSES: Final = {
    "irregular invasive glands": "Tumor",
    "solid tumour nests": "Tumor",
    "single-file tumour cells": "Tumor",
    "tumour in mucin pools": "Tumor",
    "crowded dysplastic glands": "Dysplasia",
    "necrosis": "Necrosis",
    "lymphoid infiltrate": "Immune cells",
    "smooth muscle": "Stroma",
    "stroma": "Stroma",
}
"""QuPath's class of the encoder's; the rest is Other."""

Bounds = Mapping[str, tuple[int, int]]
"""Slide id → (x, y) of the bounds' corner in level-0 px."""


def feature_collection(report: Report, bounds: Bounds, *, slide: str | None = None) -> dict[str, Any]:
    """Looks and regions worth a look of the case, or of one of its slides."""
    digests = {s.id: s for s in report.slides}
    looks = [_look(e, digests[e.region.slide], bounds) for e in report.evidence if _on(slide, e.region)]
    regions = [
        _candidate(c, digests[c.region.slide], bounds)
        for c in report.regions_of_interest
        if _on(slide, c.region)
    ]
    return {"type": "FeatureCollection", "features": looks + regions}


def dump(collection: Mapping[str, Any]) -> str:
    """The file's text; a bare NaN is impossible."""
    return json.dumps(collection, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _on(slide: str | None, region: Region) -> bool:
    return slide is None or region.slide == slide


def _look(evidence: Evidence, slide: SlideRecord, bounds: Bounds) -> dict[str, Any]:
    name = _CLASSES.get(evidence.findings.tissue, "Other") if evidence.findings else "Region*"
    metadata = {
        "evidence": evidence.id,
        "place": evidence.place,
        "seen": seen(evidence),
        "sentence": evidence.sentence or "",
        "pixels_sha256": evidence.pixels_sha256,
    }
    numbers = _numbers(evidence.measurements)
    if evidence.confidence is not None:
        numbers["confidence"] = evidence.confidence
    label = f"{evidence.id} {seen(evidence)}"
    return _feature(label, name, evidence.region, slide, bounds, numbers, metadata)


def _candidate(candidate: Candidate, slide: SlideRecord, bounds: Bounds) -> dict[str, Any]:
    numbers = {
        "relevance": candidate.relevance,
        "anomaly": candidate.anomaly,
        "novelty": candidate.novelty,
    }
    metadata = {"candidate": candidate.id, "seen": "not looked at"}
    return _feature(
        f"{candidate.id} worth a look", "Region*", candidate.region, slide, bounds, numbers, metadata
    )


def tile(
    hint: str, box: Sequence[int], slide: SlideRecord, corner: tuple[int, int], numbers: Mapping[str, float]
) -> dict[str, Any]:
    """A tile of the scan: `box` (x, y, width, height) in level-0 px, `corner` of the slide's bounds."""
    properties = {
        "objectType": "tile",
        "name": hint,
        "isLocked": True,
        "classification": _classification(_SCAN_CLASSES.get(hint, "Other")),
        "measurements": {k: _finite(v) for k, v in numbers.items()},
        "metadata": {"slide": slide.id, "seen": "by the scan alone", "disclaimer": RESEARCH_USE_ONLY},
    }
    return _with_id({"geometry": _rectangle(box, corner), "properties": properties}, slide)


def _feature(
    name: str,
    classification: str,
    region: Region,
    slide: SlideRecord,
    bounds: Bounds,
    numbers: Mapping[str, float],
    metadata: Mapping[str, str],
) -> dict[str, Any]:
    box = (region.x, region.y, region.width, region.height)
    content = {
        "geometry": _rectangle(box, bounds[slide.id]),
        "properties": {
            "objectType": "annotation",
            "name": name,
            "isLocked": True,
            "classification": _classification(classification),
            "measurements": {k: _finite(v) for k, v in {"mpp": region.mpp, **numbers}.items()},
            "metadata": {"slide": slide.id, **metadata, "disclaimer": RESEARCH_USE_ONLY},
        },
    }
    return _with_id(content, slide)


def _classification(name: str) -> dict[str, Any]:
    return {"name": name, "color": list(_COLOURS[name])}


def _rectangle(box: Sequence[int], corner: tuple[int, int]) -> dict[str, Any]:
    left, top = box[0] - corner[0], box[1] - corner[1]
    right, bottom = left + box[2], top + box[3]
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {"type": "Polygon", "coordinates": [ring]}


def _with_id(content: dict[str, Any], slide: SlideRecord) -> dict[str, Any]:
    identity = uuid.uuid5(NAMESPACE, canonical_json([slide.digest, content]))
    return {"type": "Feature", "id": str(identity), **content}


def _numbers(measurements: Sequence[Measurement]) -> dict[str, float]:
    return {m.name: m.value for m in measurements}


def _finite(value: float) -> float | str:
    """QuPath writes and reads NaN and infinities as strings."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
