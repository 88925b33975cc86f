"""Finish: put the report together from the state. Code only; no times, so that reports repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathagent.agents.candidates import MAX_CANDIDATES
from pathagent.agents.coverage import percent_of_tissue
from pathagent.resources import Resources
from pathagent.rules.agreement import doubt, open_grade
from pathagent.rules.benign import unexplained
from pathagent.state import ModelCall, State, evidence_list
from pathagent_tools.core.protocols import Role
from pathagent_tools.core.records import Candidate, Coverage, Evidence, Report, SlideRecord, SynopticField
from pathagent_tools.vlm.adapters import adapter_digests, adapter_names

SHOWN_REGIONS = MAX_CANDIDATES


def finish(resources: Resources, state: State) -> dict[str, Any]:
    """The finished report."""
    return {"report": assemble(resources, state)}


def assemble(resources: Resources, state: State) -> Report:
    """The report that the state amounts to; before review it is the draft that a human will see."""
    from pathagent.rules.legality import quote

    case, looked = state["case"], evidence_list(state)
    coverage = _coverage(resources, state, looked)
    decided = state.get("review")
    statuses = {"approve": "reviewed", "edit": "reviewed", "reject": "rejected"}
    return Report.model_validate(
        {
            "status": statuses[decided.decision] if decided else "draft",
            "outcome": state["outcome"],
            "outcome_text": state["outcome_text"],
            "question": case.question,
            "answer": state.get("answer"),
            "notes": quote(case.notes) if case.notes else None,
            "slides": tuple(state["slides"].values()),
            "claims": tuple(state.get("claims", [])),
            "synoptic": _synoptic(state, looked),
            "differential": tuple(state.get("differential", [])),
            "sufficiency": state.get("sufficiency"),
            "evidence": tuple(looked),
            "regions_of_interest": _regions_of_interest(state, looked),
            "measurements": {k: v.measurements for k, v in state["measures"].items()},
            "coverage": coverage,
            "limits": _limits(resources, state),
            "provenance": provenance(resources, state),
            "illustrations": tuple(state.get("illustrations", [])),
            "compare": state.get("compared"),
        }
    )


def _synoptic(state: State, looked: Sequence[Evidence]) -> tuple[SynopticField, ...]:
    from pathagent.rules import synoptic

    measurements = [m for measures in state["measures"].values() for m in measures.measurements]
    return synoptic.fill(
        state["case"].specimen, state.get("differential", []), looked, measurements, state["outcome"]
    )


def _coverage(resources: Resources, state: State, looked: Sequence[Evidence]) -> tuple[Coverage, ...]:
    found = []
    for slide_id, measures in state["measures"].items():
        regions = [e.region for e in looked if e.region.slide == slide_id]
        boxes = [(r.x, r.y, r.width, r.height) for r in regions]
        seen = percent_of_tissue(resources.slide(slide_id).tissue, boxes) if boxes else 0.0
        found.append(
            Coverage(
                slide=slide_id,
                scanned_percent=measures.scanned_percent,
                looked_percent=seen,
                looks=len(boxes),
            )
        )
    return tuple(found)


def _regions_of_interest(state: State, looked: Sequence[Evidence]) -> tuple[Candidate, ...]:
    """Places that were offered last and not looked at: where a person may want to look next."""
    seen = [e.region for e in looked]
    offered = [c for c in state.get("candidates", []) if c.hint != "background"]
    return tuple(c for c in offered if all(c.region.overlap(r) < 1 for r in seen))[:SHOWN_REGIONS]


def _limits(resources: Resources, state: State) -> tuple[str, ...]:
    """What the coverage does not say already: `Report.coverage` has its own place on the page."""
    said = _unexplained(state)
    if why := open_grade(evidence_list(state)):
        said.append(f"The grade of the tumour is left open: {why}.")
    if state["outcome"] == "report":
        said += _pieces_not_seen(resources, state)
    for record in state["slides"].values():
        said += _slide_limits(record)
    if doubts := [f"{look.id} ({why})" for look in evidence_list(state) if (why := doubt(look))]:
        said.append(
            f"No sentence of the draft that the model wrote rests on these looks: {', '.join(doubts)}."
        )
    if state.get("stop"):
        said.append(f"Looking ended because {state['stop']}.")
    unusable = [c.key for c in state.get("calls", []) if c.data is None]
    if unusable:
        said.append(f"The model gave no usable answer to: {', '.join(unusable)}.")
    said += state.get("withheld", [])
    return tuple(said)


def _unexplained(state: State) -> list[str]:
    """Looks at tumour, or at what goes with one, beside a benign diagnosis: what to look at first."""
    leading = next(iter(state.get("differential", [])), None)
    if state["outcome"] != "report" or leading is None:
        return []
    return [
        f"{', '.join(ids)} read as {tissue}, which the drafted diagnosis does not explain: look there first."
        for tissue, ids in unexplained(evidence_list(state), leading.diagnosis).items()
    ]


def _pieces_not_seen(resources: Resources, state: State) -> list[str]:
    """Slides that are read and have pieces of tissue without a look."""
    said = []
    for slide_id in [r.id for r in state["slides"].values() if r.outcome == "report"]:
        tissue = resources.slide(slide_id).tissue
        centres = [e.region.center for e in evidence_list(state) if e.region.slide == slide_id]
        seen = set(tissue.pieces_at(np.array(centres, np.float64).reshape(-1, 2)).tolist()) - {-1}
        if left := len(tissue.pieces) - len(seen):
            said.append(f"{slide_id}: no look lies in {left} of its {len(tissue.pieces)} pieces of tissue.")
    return said


def _slide_limits(record: SlideRecord) -> list[str]:
    said = []
    if record.resolution_assumed:
        said.append(f"{record.id}: resolution assumed by user ({record.mpp:g} µm per pixel).")
    if record.outcome == "outside the model's domain":
        said.append(
            f"{record.id}: measured, not interpreted: the models of this profile do not know such tissue."
        )
    if record.outcome == "resolution too coarse":
        said.append(f"{record.id}: nuclear measures and the model's looks are withheld: too coarse a scan.")
    if record.outcome in ("not H&E", "wrong colours", "unusable quality"):
        said.append(f"{record.id}: no morphology is read and no stain is measured: {record.outcome}.")
    return said


def adapters_used(calls: Sequence[ModelCall], listed: Mapping[Role, Path]) -> dict[str, str]:
    """role → which weights, of the adapters that answered: a model that the caller brought has its own."""
    names, digests = adapter_names(listed), adapter_digests(listed)
    known = {str(role): (names[role], digests[role]) for role in listed}
    used = sorted({(c.role, c.adapter) for c in calls if c.adapter})
    return {
        role: known[role][1] if role in known and known[role][0] == name else f"{name}, not of the profile"
        for role, name in used
    }


def _counters(resources: Resources) -> dict[str, dict[str, str]]:
    """What counted cells."""
    models = {"mitoses": resources.mitosis_detector, "lymphocytes": resources.lymphocyte_counter}
    return {name: {"id": m.id, "revision": m.revision} for name, m in models.items() if m is not None}


def provenance(resources: Resources, state: State) -> dict[str, Any]:
    """Which models, prompts, seed and budget made this report. The same always, so no times."""
    import pathagent
    from pathagent_prompts import load, names

    case, vlm, encoder = state["case"], resources.vlm, resources.encoder
    asked = {"id": vlm.id, "revision": vlm.revision, "tile_px": vlm.tile_px, "tile_mpp": vlm.tile_mpp}
    if (closer_mpp := resources.profile.vlm.closer_mpp) is not None:
        asked["closer_mpp"] = closer_mpp
    calls: list[ModelCall] = state.get("calls", [])
    adapters = adapters_used(calls, resources.profile.vlm.adapters)
    return {
        "pathagent": pathagent.__version__,
        "run": resources.run,
        "profile": resources.profile.name,
        "vlm": asked | ({"adapters": adapters} if adapters else {}),
        "encoder": {"id": encoder.id, "revision": encoder.revision},
        **(_counters(resources) if state["reading"] == "read" else {}),
        "prompts": {name: load(name).sha256 for name in names()},
        "seed": case.seed,
        "budget": case.budget.model_dump(),
        "questions_to_model": len(calls),
        "rounds": state.get("round", 0),
    }
