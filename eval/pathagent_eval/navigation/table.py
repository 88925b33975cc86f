"""Looks against the truth: when is the lesion hit, by which way, and is the agent better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shapely.geometry import Polygon, box
from shapely.ops import unary_union

from pathagent_eval.navigation.slides import SlideTruth
from pathagent_eval.navigation.walk import Walk
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.scoring.resampling import Resampling

LOOK_SHARE: Final = 0.10
LESION_HALF: Final = 0.5
HIT: Final = "a tenth of the look is lesion, or half of the lesion is in the look"
AGENT: Final = "agent"


def is_hit(look: Region, truth: SlideTruth) -> bool:
    """Whether a look shows the lesion: see `HIT`."""
    field = box(look.x, look.y, look.x + look.width, look.y + look.height)
    lesion = unary_union([Polygon(ring).buffer(0) for ring in truth.lesion])
    shared = float(lesion.intersection(field).area)
    return shared >= min(LOOK_SHARE * float(field.area), LESION_HALF * float(lesion.area))


def first_hit(walk: Walk, truth: SlideTruth) -> int | None:
    """Number of the first look at the lesion, from 1; None where there is none."""
    return next((n for n, look in enumerate(walk.looks, 1) if is_hit(look, truth)), None)


def curve_area(first: int | None, looks: int) -> float:
    """Area under one slide's hit curve over `looks` looks, 0..1: 1 where the first look hits."""
    return (looks - first + 1) / looks if first else 0.0


def table(firsts: Mapping[str, Sequence[int | None]], seeds: Sequence[int], looks: int) -> dict[str, Any]:
    """Way → rates with intervals by slide, the hit curve, and the agent's gain in pairs over each."""
    draws = Resampling(list(seeds))
    hits = {way: [float(f is not None) for f in found] for way, found in firsts.items()}
    areas = {way: [curve_area(f, looks) for f in found] for way, found in firsts.items()}
    rows: dict[str, Any] = {}
    for way, found in firsts.items():
        rows[way] = {
            "looked_at": draws.mean(hits[way]).model_dump(),
            "looks_to_first_hit": draws.mean([float(f or looks + 1) for f in found]).model_dump(),
            "area_under_hit_curve": draws.mean(areas[way]).model_dump(),
            "hit_curve": [
                sum(f is not None and f <= n for f in found) / len(found) for n in range(1, looks + 1)
            ],
        }
        if way != AGENT and AGENT in firsts:
            for name, of in (("looked_at", hits), ("area_under_hit_curve", areas)):
                gain = draws.mean_gain(of[AGENT], of[way])
                rows[way][f"agent_gain_{name}"] = gain.model_dump() | {"verdict": gain.verdict}
    return {"slides": len(seeds), "looks": looks, "hit": HIT, "intervals": draws.method, "ways": rows}


def markdown(found: Mapping[str, Any]) -> str:
    """The table as a person reads it."""
    lines = [
        f"| way of looking (n = {found['slides']}) | looked at within {found['looks']} | looks to first hit "
        "| area under hit curve | agent's gain: looked at | agent's gain: area |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for way, row in found["ways"].items():
        gains = [_gain(row.get(f"agent_gain_{n}")) for n in ("looked_at", "area_under_hit_curve")]
        cells = [_said(row[n]) for n in ("looked_at", "looks_to_first_hit", "area_under_hit_curve")]
        lines.append(f"| {' | '.join([way, *cells, *gains])} |")
    return "\n".join(lines)


def _said(e: Mapping[str, float]) -> str:
    return f"{e['value']:.3f} [{e['low']:.3f}, {e['high']:.3f}]"


def _gain(e: Mapping[str, Any] | None) -> str:
    return f"{e['value']:+.3f} [{e['low']:+.3f}, {e['high']:+.3f}] {e['verdict']}" if e else ""
