"""Further runs of a case that has been looked at: they start from the evidence that there is.

A question is put to the ledger first, and only what is missing is looked for; a region that a person has
drawn is looked at before anything else; another look at a claim seeks more of what the claim says. The
ids of the evidence go on where the ledger ended, so `E7` means one place in the whole case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from pathagent.agents.coverage import place_of
from pathagent.agents.triage import admit, triage
from pathagent.budget import Budget
from pathagent.drafting import Beginning
from pathagent.resources import Resources
from pathagent.state import Belief, Case, Look, Reading, SlideMeasures, State
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report, Sufficiency

if TYPE_CHECKING:
    from pathagent_tools.slides import Slide

QUESTION_LOOKS: Final = 6
"""Looks that a follow-up question may add to the ledger."""
CLAIM_LOOKS: Final = 3
"""Looks that another look at one claim adds."""
LEAST_PX: Final = 16
"""Least side of a drawn region, in level-0 px."""
REGION_LOOKS: Final = 6
"""Most fields that a drawn region is looked at in."""

Begin = Callable[[Resources], Beginning]


def draft_again(earlier: Report) -> Begin:
    """A whole draft: its question-free first round comes anew, beside the evidence that there is."""

    def begin(resources: Resources) -> Beginning:
        return Beginning(_start(resources, earlier), after="triage")

    return begin


def question(earlier: Report) -> Begin:
    """A question: judged on the ledger first; more is looked at only where that is not enough."""

    def begin(resources: Resources) -> Beginning:
        start = _start(resources, earlier)
        readable = start["reading"] == "read" and any(e.findings for e in earlier.evidence)
        return Beginning({**start, **_belief(earlier)}, after="description" if readable else "triage")

    return begin


def look_at(drawn: Region, earlier: Report | None) -> Begin:
    """A drawn region, looked at in one field or a few; then the question is answered."""

    def begin(resources: Resources) -> Beginning:
        start = _start(resources, earlier)
        if start["reading"] == "none":
            return Beginning(start, after="triage")
        first = len(earlier.evidence) + 1 if earlier else 1
        looks = looks_at(resources, drawn, first=first, reading=_reading(start, drawn))
        belief = _belief(earlier) if earlier else {}
        known = {**start, **belief, "plan": looks, "round": belief.get("round", 0) + 1}
        return Beginning(known, after="navigation")

    return begin


def only_at(resources: Resources, drawn: Region) -> Case:
    """The case of the resources as one about a region: its fields are all that is looked at."""
    case, slide = resources.case, resources.slide(drawn.slide).slide
    fields = fields_of(drawn, slide, tile_px=resources.vlm.tile_px, tile_mpp=resources.vlm.tile_mpp)
    budget = case.budget.model_copy(update={"looks": len(fields)})
    return case.model_copy(update={"region": drawn, "budget": budget})


def another_look(claim: str, earlier: Report) -> Begin:
    """More evidence for or against the words of a claim, then the whole draft anew."""

    def begin(resources: Resources) -> Beginning:
        missing = Sufficiency(sufficient=False, missing=claim.rstrip("."))
        known = {**_start(resources, earlier), **_belief(earlier), "sufficiency": missing}
        return Beginning(known, after="diagnosis")

    return begin


def budget_for(earlier: Report | None, more: int) -> Budget:
    """Room for `more` looks beside those of the ledger."""
    before = len(earlier.evidence) if earlier else 0
    try:
        return Budget(looks=before + more)
    except ValidationError:
        raise UserError(f"This case has {before} looks and no room for more. Open a new case.") from None


def drawn_on(slide: Slide, name: str, box: Sequence[int]) -> Region:
    """The region of a drawn (x, y, width, height) in level-0 px. UserError where it is not on the slide."""
    x, y, width, height = box
    left, top = max(0, x), max(0, y)
    right, bottom = min(x + width, slide.width), min(y + height, slide.height)
    if right - left < LEAST_PX or bottom - top < LEAST_PX:
        raise UserError("The region lies outside the slide. Draw it on the tissue.")
    return Region(slide=name, x=left, y=top, width=right - left, height=bottom - top, mpp=slide.mpp)


def looks_at(resources: Resources, drawn: Region, *, first: int, reading: Reading) -> list[Look]:
    """At most six fields of the model's own size that cover or sample a drawn region; ids from `E{first}`."""
    opened = resources.slide(drawn.slide)
    tile_px, tile_mpp = resources.vlm.tile_px, resources.vlm.tile_mpp
    regions = fields_of(drawn, opened.slide, tile_px=tile_px, tile_mpp=tile_mpp)
    return [
        Look(
            id=f"E{first + i}",
            region=region,
            place=place_of(opened.tissue, region),
            reason="a person asked about this region",
            chosen_by="fill",
            reading=reading,
        )
        for i, region in enumerate(regions)
    ]


def fields_of(drawn: Region, slide: Slide, *, tile_px: int, tile_mpp: float) -> list[Region]:
    """The fields, `tile_px` a side at `tile_mpp` or the slide's own coarser mpp, that stand for a region."""
    mpp = max(tile_mpp, slide.mpp)
    side = round(tile_px * mpp / slide.mpp)
    regions = [
        Region(slide=drawn.slide, x=x, y=y, width=side, height=side, mpp=mpp)
        for y in _starts(drawn.y, drawn.height, side, slide.height)
        for x in _starts(drawn.x, drawn.width, side, slide.width)
    ]
    return _spread(regions, REGION_LOOKS)


def _starts(start: int, length: int, side: int, canvas: int) -> list[int]:
    """Where fields of `side` px begin along one axis, centred on the drawn stretch and inside the canvas."""
    count = max(1, math.floor(length / side))
    left = start + (length - count * side) / 2
    return [max(0, min(round(left + i * side), canvas - side)) for i in range(count)]


def _spread(regions: Sequence[Region], most: int) -> list[Region]:
    if len(regions) <= most:
        return list(regions)
    return [regions[round((i + 0.5) * len(regions) / most - 0.5)] for i in range(most)]


def _start(resources: Resources, earlier: Report | None) -> dict[str, Any]:
    """What triage says of the case; slides that a run has judged and measured are not judged again."""
    if earlier is None:
        return triage(resources, State(case=resources.case))
    scanned = {c.slide: c.scanned_percent for c in earlier.coverage}
    measures = {
        slide: SlideMeasures(measurements=found, scanned_percent=scanned.get(slide, 0.0))
        for slide, found in earlier.measurements.items()
    }
    evidence = {e.id: e for e in earlier.evidence}
    known = {"measures": measures, "evidence": evidence}
    return {**admit(resources.case, {s.id: s for s in earlier.slides}), **known}


def _belief(earlier: Report) -> dict[str, Any]:
    """The differential as it stood; whether it answers the new question is not taken over."""
    found: dict[str, Any] = {"differential": list(earlier.differential), "round": 1}
    if earlier.differential:
        leading, judged = earlier.differential[0], earlier.sufficiency
        found["beliefs"] = [
            Belief(
                round=1,
                leading=leading.text,
                probability=leading.probability,
                sufficient=bool(judged and judged.sufficient),
                looks=len(earlier.evidence),
            )
        ]
    if earlier.outcome in ("report", "insufficient evidence"):
        found |= {"outcome": earlier.outcome, "outcome_text": earlier.outcome_text}
    return found


def _reading(start: dict[str, Any], drawn: Region) -> Reading:
    """How the drawn slide may be read: never more freely than the case."""
    record = start["slides"][drawn.slide]
    reading: Reading = start["reading"]
    return reading if record.outcome == start["outcome"] else "show"
