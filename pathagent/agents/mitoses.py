"""Mitotic figures: where they are densest, and how many there are. Counted by code, not by the model.

A pathologist counts mitoses where they are most, not where the first look happened to fall. The fields that
look like the lesion are searched at high power, and a look is laid where figures are densest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pathagent.agents import candidates as places
from pathagent.agents.magnification import apart
from pathagent.resources import Resources
from pathagent.rules.benign import EXPLAINS
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence, Hypothesis, Measurement, SlideRecord
from pathagent_tools.measure.mitoses import amount, densest

MAX_CITES: Final = 4
FIELDS: Final = 32
"""Fields that are counted on a slide."""
LIKE_LESION: Final = 0.4
"""Likeness (cosine, of centred embeddings) to a look at the lesion from which a field is counted."""
MARGIN_UM: Final = 8.0
"""A figure nearer to the border of a field is not counted on: part of it may be cut off."""
REASON: Final = "most mitotic figures"


def hot_spot(resources: Resources, slide: str, looked: Sequence[Evidence]) -> tuple[Region, str] | None:
    """(the field with most figures, why) of a slide whose lesion has been looked at.

    The figures of up to 32 fields like the lesion are found, and the field is laid where they are densest.
    None where no look shows a lesion, where nothing counts mitoses, where it has been looked at before, or
    where no field has more figures than a look that there is.
    """
    mine = [e for e in looked if e.region.slide == slide]
    if any(e.reason.startswith(REASON) for e in mine):
        return None
    opened, vlm = resources.slide(slide), resources.vlm
    pool = places.make_pool(opened, tile_px=vlm.tile_px, tile_mpp=vlm.tile_mpp, goal=None, known=False)
    like = places.near_lesion(pool, mine)
    fields = [pool.regions[i] for i in places.in_order_of(pool, like, [], FIELDS) if like[i] >= LIKE_LESION]
    figures = opened.mitoses(fields) if fields else None
    if figures is None or not len(figures):
        return None
    found = densest(figures, fields[0].width - 2 * MARGIN_UM / opened.slide.mpp)
    if found is None:
        return None
    x, y, inside = found
    count = int(inside.sum()) if (figures[inside, 2] == 1).any() else 0
    if count <= max(map(counted, mine), default=0):
        return None
    region = places.look_at(opened, x, y, vlm.tile_px, vlm.tile_mpp)
    return region, f"{REASON} ({count}), found in {len(fields)} fields like the lesion"


def counted(look: Evidence) -> int:
    """Mitotic figures in a look, 0 where nobody counted or none of them is certain.

    The largest of many counts is asked for, so what is uncertain would add up.
    """
    found = _count(look)
    return int(found.value) if found and found.q05 else 0


def _count(look: Evidence) -> Measurement | None:
    return next((m for m in look.measurements if m.name == "mitotic_figures"), None)


def mitosis_claim(
    described: Sequence[Evidence], leading: Hypothesis, slides: Mapping[str, SlideRecord]
) -> dict[str, Any] | None:
    """What was counted, as a claim of code's that cites the densest fields; None where nothing was counted.

    Of a neoplasm the fields that show it count; of another diagnosis all of them. Where a neoplasm has
    figures of which none is certain, it is left open whether there are any.
    """
    fields = [e for e in apart(described) if _count(e) is not None]
    lesion = [e for e in fields if e.findings and e.findings.tissue in places.LESION]
    neoplasm = EXPLAINS.get(leading.diagnosis) != frozenset()
    if neoplasm and lesion:
        fields = lesion
    if not fields:
        return None
    where = (
        f"{len(fields)} field{'s' if len(fields) > 1 else ''}{' of the lesion' if fields is lesion else ''}"
    )
    most = max(map(counted, fields))
    densest = [e for e in fields if counted(e) == most]
    mm2 = _area_mm2(densest[0], slides)
    unsure = max(int(found.value) for e in fields if (found := _count(e)))
    claim = {
        "section": "microscopy",
        "evidence": tuple(e.id for e in densest[:MAX_CITES]),
        "written_by": "rule",
    }
    if fields is lesion and unsure and not most:
        shown = [e for e in fields if (found := _count(e)) and found.value]
        figures = "figures" if unsure > 1 else "figure"
        text = f"Mitoses are left open: up to {unsure} possible {figures} in one of {where}, no certain one."
        cited = tuple(e.id for e in shown[:MAX_CITES])
        return claim | {
            "text": text,
            "evidence": cited,
            "verdict": "not assessable",
            "reason": "the detector is not sure",
        }
    doubt = f" with certainty in {where} (up to {unsure} uncertain in one)" if unsure else f" in {where}"
    assumed = any(slides[e.region.slide].resolution_assumed for e in densest)
    how = f"{where} counted{'; resolution assumed by user' if assumed else ''}"
    said = {
        "none": f"No mitoses are counted{doubt}.",
        "few": f"Mitoses are few: up to {most} in a field of {mm2:.2g} mm² ({how}).",
        "many": f"Mitoses are many: up to {most} in a field of {mm2:.2g} mm² ({how}).",
    }
    return claim | {"text": said[amount(most, mm2)], "verdict": "supported"}


def _area_mm2(look: Evidence, slides: Mapping[str, SlideRecord]) -> float:
    side = slides[look.region.slide].mpp / 1000
    return look.region.width * side * look.region.height * side
