"""Mitotic figures: where they are densest, and how many there are. Counted by code, not by the model.

A pathologist counts mitoses where they are most, not where the first look happened to fall. The fields that
look like the lesion are counted at high power, and the densest one is looked at and described like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from pathagent.agents import candidates as places
from pathagent.agents.finish import EXPLAINS
from pathagent.resources import Resources
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence, Hypothesis, Measurement, SlideRecord
from pathagent_tools.measure.mitoses import amount

MAX_CITES: Final = 4
FIELDS: Final = 32
"""Fields that are counted on a slide."""
LIKE_LESION: Final = 0.4
"""Likeness (cosine, of centred embeddings) to a look at the lesion from which a field is counted."""
REASON: Final = "most mitotic figures"


def hot_spot(resources: Resources, slide: str, looked: Sequence[Evidence]) -> tuple[Region, str] | None:
    """(the field with most figures, why) of a slide whose lesion has been looked at.

    None where no look shows a lesion, where nothing counts mitoses, where it has been looked at before, or
    where no field has more figures than a look that there is.
    """
    mine = [e for e in looked if e.region.slide == slide]
    if any(e.reason.startswith(REASON) for e in mine):
        return None
    opened = resources.slide(slide)
    pool = places.make_pool(
        opened, tile_px=resources.vlm.tile_px, tile_mpp=resources.vlm.tile_mpp, goal=None, known=False
    )
    like = places.near_lesion(pool, mine)
    fields = places.in_order_of(pool, like, [e.region for e in mine], FIELDS)
    fields = [i for i in fields if like[i] >= LIKE_LESION]
    found = opened.mitoses([pool.regions[i] for i in fields]) if fields else None
    counts = list(map(_figures, found or ()))
    if not counts or max(counts) <= max(map(counted, mine), default=0):
        return None
    best = int(np.argmax(counts))
    return pool.regions[fields[best]], f"{REASON} ({counts[best]}) of {len(counts)} fields like the lesion"


def counted(look: Evidence) -> int:
    """Mitotic figures in a look, 0 where nobody counted or none of them is certain.

    The largest of many counts is asked for, so what is uncertain would add up.
    """
    found = _count(look)
    return 0 if found is None else _figures(found)


def _figures(count: Measurement) -> int:
    return int(count.value) if count.q05 else 0


def _count(look: Evidence) -> Measurement | None:
    return next((m for m in look.measurements if m.name == "mitotic_figures"), None)


def mitosis_claim(
    described: Sequence[Evidence], leading: Hypothesis, slides: Mapping[str, SlideRecord]
) -> dict[str, Any] | None:
    """What was counted, as a claim of code's that cites the densest fields; None where nothing was counted.

    Of a neoplasm the fields that show it count; of another diagnosis all of them.
    """
    fields = [e for e in described if _count(e) is not None]
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
    doubt = f" with certainty in {where} (up to {unsure} uncertain in one)" if unsure else f" in {where}"
    assumed = any(slides[e.region.slide].resolution_assumed for e in densest)
    how = f"{where} counted{'; resolution assumed by user' if assumed else ''}"
    said = {
        "none": f"No mitoses are counted{doubt}.",
        "few": f"Mitoses are few: up to {most} in a field of {mm2:.2g} mm² ({how}).",
        "many": f"Mitoses are many: up to {most} in a field of {mm2:.2g} mm² ({how}).",
    }
    return {
        "section": "microscopy",
        "text": said[amount(most, mm2)],
        "evidence": tuple(e.id for e in densest[:MAX_CITES]),
        "verdict": "supported",
        "written_by": "rule",
    }


def _area_mm2(look: Evidence, slides: Mapping[str, SlideRecord]) -> float:
    side = slides[look.region.slide].mpp / 1000
    return look.region.width * side * look.region.height * side


def about_mitoses(text: str) -> bool:
    """Whether a sentence speaks of mitoses and of nothing else that the rules know."""
    from pathagent_tools.core.scoring.report import values

    return set(values(text)) == {"mitoses"}
