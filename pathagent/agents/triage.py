"""Triage: is there tissue, may it be read as H&E, do our models know it? And, later, what does it measure?

Asks no model. Everything that it decides is a rule, and each refusal says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pathagent.agents.coverage import percent_of_tissue
from pathagent.open_slide import OpenSlide
from pathagent.resources import Resources
from pathagent.state import Case, Reading, SlideMeasures, State
from pathagent_tools.core.records import Measurement, SlideRecord
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE, Outcome

COARSE_SLACK: Final = 1.02
"""A slide up to 2 % coarser than a model's resolution still counts as having it."""

_READING: Final[dict[Outcome, Reading]] = {
    "report": "read",
    "outside the model's domain": "measure",
    "resolution too coarse": "show",
    "unusable quality": "show",
    "not H&E": "show",
    "wrong colours": "show",
    "no tissue": "none",
}
"""What a slide of each outcome may be used for. In this order the best slide speaks for the case."""


def triage(resources: Resources, state: State) -> dict[str, Any]:
    """Judge every slide of the case, and decide what its looks may be."""
    slides = [given.id for given in state["case"].slides]
    return admit(state["case"], {slide: judge(resources, resources.slide(slide)) for slide in slides})


def measurement(resources: Resources, state: State) -> dict[str, Any]:
    """Measure the slides that no earlier run of the case has. Nothing that is looked at waits for it."""
    known = state.get("measures", {})
    found = {
        slide: known.get(slide) or measure(resources, resources.slide(slide), record)
        for slide, record in state["slides"].items()
    }
    return {"measures": found}


def admit(case: Case, records: Mapping[str, SlideRecord]) -> dict[str, Any]:
    """What slides that have been judged may be used for in this case, as triage says it."""
    best = min((r.outcome for r in records.values()), key=list(_READING).index)
    refusal = _refusal(case)
    reading = _READING[best]
    if refusal and case.task == "ask":
        reading = "none"
    return {
        "slides": dict(records),
        "reading": reading,
        "refusal": refusal,
        "outcome": best,
        "outcome_text": _outcome_text(records, best),
        "round": 0,
    }


def _refusal(case: Case) -> str:
    """Why H&E cannot answer the question; notes are not asked, so they cannot make it answerable."""
    from pathagent.rules import legality

    question = case.question
    found = legality.assess(question) if question else None
    return f"{found.topic}: {found.why}" if found else ""


def judge(resources: Resources, opened: OpenSlide) -> SlideRecord:
    """What is known of a slide before anybody looks, and what it may be used for."""
    slide, tissue, quality = opened.slide, opened.tissue, opened.quality
    outcome, score = quality.outcome, None
    findings = list(quality.findings)
    finest = min(resources.vlm.tile_mpp, resources.encoder.tile_mpp)
    if outcome == "report" and slide.mpp > COARSE_SLACK * finest:
        outcome = "resolution too coarse"
        findings.append(f"scanned at {slide.mpp:.3g} µm per pixel: the models look at {finest:g}")
    if outcome == "report":
        score, known = resources.in_domain(slide.id)
        if not known:
            outcome = "outside the model's domain"
            findings.append("tissue unlike any that the models of this profile were made for")
    return SlideRecord(
        id=slide.id,
        name=slide.name,
        digest=slide.digest,
        vendor=slide.vendor,
        width=slide.width,
        height=slide.height,
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        mpp_header=slide.mpp_header,
        resolution_assumed=slide.resolution_assumed,
        stain=quality.stain,
        tissue_mm2=round(tissue.area_mm2, 3),
        pieces=len(tissue.pieces),
        quality=tuple(findings),
        in_domain=score,
        usable=quality.usable,
        outcome=outcome,
    )


def measure(resources: Resources, opened: OpenSlide, record: SlideRecord) -> SlideMeasures:
    """Measurements of a slide that is H&E and fine enough; the scan where the encoder can read it."""
    if record.outcome not in ("report", "outside the model's domain"):
        return SlideMeasures(measurements=_area_only(record))
    from pathagent_tools.measure import measure_slide

    slide = opened.slide
    measured = resources.tool(
        "measure_slide",
        lambda: measure_slide(slide, opened.tissue, opened.stain, seed=resources.case.seed),
        slide=slide.id,
    )
    return SlideMeasures(
        measurements=with_notes(measured, assumed=record.resolution_assumed), scanned_percent=_scanned(opened)
    )


def _area_only(record: SlideRecord) -> tuple[Measurement, ...]:
    if record.outcome == "no tissue":
        return ()
    area = Measurement(name="tissue_area", label="Tissue area", value=record.tissue_mm2, unit="mm2")
    return with_notes((area,), assumed=record.resolution_assumed)


def with_notes(measured: Sequence[Measurement], *, assumed: bool) -> tuple[Measurement, ...]:
    """Every µm figure of a slide whose resolution is the user's word says so."""
    if not assumed:
        return tuple(measured)
    said = "resolution assumed by user"
    return tuple(
        m
        if m.unit in ("1", "deg") or (m.note and said in m.note)
        else m.model_copy(update={"note": f"{m.note}; {said}" if m.note else said})
        for m in measured
    )


def _scanned(opened: OpenSlide) -> float:
    """Percent of the tissue inside the scanned tiles."""
    features = opened.features
    side = round(features.size_level0)
    return percent_of_tissue(opened.tissue, [(int(x), int(y), side, side) for x, y in features.coords])


def _outcome_text(records: Mapping[str, SlideRecord], best: Outcome) -> str:
    if best == "report":
        return "The draft is being prepared."
    reasons = [
        f"{r.id}: {r.outcome}" + (f" ({'; '.join(r.quality)})" if r.quality else "") for r in records.values()
    ]
    return f"No diagnosis is drafted. {' '.join(f'{reason}.' for reason in reasons)}"


def refused_answer(refusal: str) -> str:
    """The answer to a question that H&E cannot settle."""
    return f"{NOT_ASSESSABLE[0].upper()}{NOT_ASSESSABLE[1:]} ({refusal})."
