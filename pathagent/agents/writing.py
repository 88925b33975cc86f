"""Writing: sentences that cite their evidence by id.

Sentences about what is seen, and the diagnosis, are the model's. Sentences about what was measured or
why a slide was declined are code's. `written_by` tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from pathagent.agents.asking import ask_question, slides_text
from pathagent.agents.extent import extent_claim, lesions_of
from pathagent.agents.inflammation import inflammation_claims
from pathagent.agents.magnification import apart
from pathagent.agents.measured import measured_answer
from pathagent.agents.mitoses import mitosis_claim
from pathagent.agents.triage import refused_answer
from pathagent.resources import Resources
from pathagent.rules.agreement import open_grade
from pathagent.state import ModelCall, State, asked_about
from pathagent_tools.core.records import Claim, Evidence, Hypothesis
from pathagent_tools.core.vocabulary import DIAGNOSES, NOT_ASSESSABLE, Outcome
from pathagent_tools.vlm import roles

MAX_CITES: Final = 4
_UNITS: Final = {"/mm2": "per mm²", "um2": "µm²"}
_REPEATED: Final = re.compile(r"\b(\w[\w ]*\w)(?:(?:, | and )\1\b)+")
"""The same words twice in a row in a list."""
Draft = dict[str, Any]
"""Fields of a Claim without its id."""


def write(resources: Resources, state: State) -> dict[str, Any]:
    """Draft every claim of the report; the model's claims await verification."""
    looked, calls, drafts = asked_about(state), list[ModelCall](), list[Draft]()
    answer: str | None = None
    if state.get("refusal"):
        answer = refused_answer(state["refusal"])
        drafts.append(_rule("answer", answer, verdict="not assessable", reason=state["refusal"]))
    described = [e for e in looked if e.findings]
    if state["reading"] == "read" and described:
        if state["case"].question and not state.get("refusal"):
            call = ask_question(resources, state, described, "answer")
            calls.append(call)
            draft = _measured(call, state, described) or _answer_claim(call, state["case"].options)
            answer = str(draft["text"])
            drafts.append(draft)
        if state["case"].task == "report":
            call = _write(resources, state, described)
            calls.append(call)
            drafts = [
                *with_counts(resources, _model_claims(call, state, described), state, described),
                *drafts,
            ]
    if state["case"].question and answer is None:
        answer = f"not answered: {state['outcome']}"
        drafts.append(_rule("answer", answer, verdict="unsupported", reason=state["outcome_text"]))
    if state["case"].task == "report":
        drafts += _pieces_claims(resources, state, looked)
    drafts += _measured_claims(looked)
    drafts += _declined_claims(state, looked)
    of_slide = {e.id: e.region.slide for e in looked}
    claims = [
        Claim(id=f"C{i + 1}", **{"slide": _one_slide(draft, of_slide), **draft})
        for i, draft in enumerate(_in_sections(drafts))
    ]
    outcome, text = ending(state, described)
    return {"claims": claims, "answer": answer, "calls": calls, "outcome": outcome, "outcome_text": text}


def ending(state: State, described: Sequence[Evidence]) -> tuple[Outcome, str]:
    """The run's outcome where looking never reached a belief; else as diagnosis left it."""
    refusal = state.get("refusal", "")
    if state["case"].task == "ask" and refusal:
        return state["outcome"], f"The question cannot be answered from H&E: {refusal}."
    if state["reading"] == "read" and not described:
        return (
            "insufficient evidence",
            f"No diagnosis is drafted: {state.get('stop') or 'nothing was described'}.",
        )
    return state["outcome"], state["outcome_text"]


def _write(resources: Resources, state: State, described: Sequence[Evidence]) -> ModelCall:
    request = roles.write(
        slides_text(state),
        roles.differential_text(state.get("differential", [])),
        roles.ledger_text(described),
        [e.id for e in roles.telling(described)],
    )
    return resources.ask("write", request)


def _measured(call: ModelCall, state: State, described: Sequence[Evidence]) -> Draft | None:
    """The answer to a question that a tool measures."""
    pieces = [(r.id, r.pieces) for r in state["slides"].values() if r.outcome == "report"]
    found = measured_answer(call.data or {}, pieces, {e.id: e for e in described})
    if found is None:
        return None
    return _rule("answer", found.text, _cites(found.evidence), verdict=found.verdict, reason=found.reason)


def _answer_claim(call: ModelCall, options: Sequence[str]) -> Draft:
    data = call.data or {}
    state, text = str(data.get("class", "insufficient evidence")), str(data.get("answer", "")).strip()
    if state == "cannot be told from this slide":
        text = NOT_ASSESSABLE if options or not text else text
        return _model("answer", text, (), call.confidence, verdict="not assessable", reason=state)
    if state != "answered" or not text:
        text = "insufficient evidence"
        reason = "the model found the evidence too thin"
        return _model("answer", text, (), call.confidence, reason=reason)
    return _model("answer", text, _cites(data.get("cites", [])), call.confidence)


def _model_claims(call: ModelCall, state: State, described: Sequence[Evidence]) -> list[Draft]:
    """The diagnosis (unless the run abstains) and the model's other sentences, repeats left out."""
    leading = next(iter(state.get("differential", [])), None)
    sentences = sentences_of(call)
    naming = [s for s in sentences if leading and names(s[0], leading.diagnosis)]
    rest = [s for s in sentences if s not in naming]
    certainty = {e.id: e.confidence for e in described}
    undecided = open_grade(described)
    drafts = [_microscopy(text, cites, leading, certainty, undecided) for text, cites in rest]
    if leading is None or state["outcome"] != "report":
        return drafts
    cited = _cites(i for _, cites in naming or sentences for i in cites)
    said = f"{leading.text[0].upper()}{leading.text[1:]}."
    return [_model("diagnosis", said, cited, leading.probability), *drafts]


def with_counts(
    resources: Resources, drafts: list[Draft], state: State, described: Sequence[Evidence]
) -> list[Draft]:
    """The model's claims, with what code counts and measures in place of the model's impression of it."""
    from pathagent_tools.core.scoring.report import values

    leading = next(iter(state.get("differential", [])), None)
    if leading is None:
        return drafts
    claims = {"mitoses": [c for c in (mitosis_claim(described, leading, state["slides"]),) if c]}
    sizes = []
    if state["outcome"] == "report":
        lesions = lesions_of(resources, described, leading.diagnosis)
        claims["inflammation"] = inflammation_claims(resources, described, leading.diagnosis, lesions)
        sizes = [extent_claim(lesion) for lesion in lesions]
    counted = {slot for slot, found in claims.items() if found}
    kept = [d for d in drafts if not values(d["text"]) or not set(values(d["text"])) <= counted]
    return [*kept, *chain.from_iterable(claims.values()), *sizes]


def _microscopy(
    text: str,
    cites: tuple[str, ...],
    leading: Hypothesis | None,
    certainty: dict[str, float | None],
    undecided: str,
) -> Draft:
    from pathagent_tools.core.scoring.report import values

    known = [c for c in (certainty.get(i) for i in cites) if c is not None]
    confidence = round(min(known), 4) if known else None
    other = next((d for d in DIAGNOSES if names(text, d)), None)
    if other and (leading is None or other != leading.diagnosis):
        reason = f"names {other}, which is not the leading hypothesis"
        return _model("microscopy", text, cites, confidence, verdict="contradicted", reason=reason)
    if undecided and "nuclear_grade" in values(text):
        return _model("microscopy", text, cites, confidence, verdict="contradicted", reason=undecided)
    return _model("microscopy", text, cites, confidence)


def names(text: str, diagnosis: str) -> bool:
    """Whether a sentence names a diagnosis as a whole word (`adenoma` is not in `adenocarcinoma`)."""
    return re.search(rf"(?<!\w){re.escape(diagnosis)}(?!\w)", text, flags=re.IGNORECASE) is not None


def sentences_of(call: ModelCall) -> list[tuple[str, tuple[str, ...]]]:
    """(sentence, evidence ids that it cites) of a `write` answer, repeats left out, in lists too.

    `stroma, stroma and mucin` is said as `stroma and mucin`; the completion stays as it was in `run.json`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for item in (call.data or {}).get("sentences", []):
        text = _REPEATED.sub(r"\1", " ".join(str(item.get("text", "")).split()))
        if text:
            found.setdefault(text, _cites(item.get("cites", [])))
    return list(found.items())


def _cites(ids: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(i) for i in ids))[:MAX_CITES]


def _model(
    section: str,
    text: str,
    evidence: tuple[str, ...],
    confidence: float | None,
    *,
    verdict: str = "unsupported",
    reason: str | None = None,
) -> Draft:
    return {
        "section": section, "text": text, "evidence": evidence, "confidence": confidence,
        "verdict": verdict, "reason": reason, "written_by": "model",
    }  # fmt: skip


def _rule(section: str, text: str, evidence: tuple[str, ...] = (), **more: Any) -> Draft:
    return {
        "section": section, "text": text, "evidence": evidence, "verdict": "supported",
        "written_by": "rule", **more,
    }  # fmt: skip


def _pieces_claims(resources: Resources, state: State, looked: Sequence[Evidence]) -> list[Draft]:
    """Per slide that is read, in how many pieces its tissue lies, citing the first look at each."""
    drafts = []
    for record in state["slides"].values():
        mine = [e for e in looked if e.region.slide == record.id]
        if record.outcome != "report" or not mine:
            continue
        centres = np.array([e.region.center for e in mine], np.float64)
        at = resources.slide(record.id).tissue.pieces_at(centres).tolist()
        first = {piece: e.id for piece, e in reversed(list(zip(at, mine, strict=True))) if piece >= 0}
        cited = tuple(e.id for e in mine if e.id in first.values())
        text = f"The tissue lies in {record.pieces} piece{'s' if record.pieces != 1 else ''}."
        drafts.append(_rule("measurements", text, cited[:MAX_CITES], slide=record.id))
    return drafts


def _measured_claims(looked: Sequence[Evidence]) -> list[Draft]:
    """Per slide, the range over its looks of what was measured, citing the extremes."""
    drafts = []
    for slide in dict.fromkeys(e.region.slide for e in looked):
        mine = [e for e in apart(looked) if e.region.slide == slide]
        for name in ("nuclei_per_mm2", "nuclear_area"):
            values = [(m, e) for e in mine for m in e.measurements if m.name == name]
            if values:
                drafts.append(_range_claim(values, slide))
    return drafts


def _range_claim(values: list[tuple[Any, Evidence]], slide: str) -> Draft:
    low, high = min(values, key=lambda v: v[0].value), max(values, key=lambda v: v[0].value)
    label, unit = low[0].label, _UNITS.get(low[0].unit, low[0].unit)
    where = f"{label} in the {len(values)} fields looked at"
    least, most = (f"{_figure(m.value)} {unit} ({e.id})" for m, e in (low, high))
    text = f"{where}: {least} to {most}."
    if low is high:
        text = f"{label} in the field looked at: {least}."
    note = low[0].note
    cited = tuple(dict.fromkeys((low[1].id, high[1].id)))
    return _rule("measurements", f"{text[:-1]} ({note})." if note else text, cited, slide=slide)


def _figure(value: float) -> str:
    """Four digits as a person writes them, and never a power of ten."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _declined_claims(state: State, looked: Sequence[Evidence]) -> list[Draft]:
    """Why a slide is not read, with the fields that show it."""
    drafts = []
    for record in state["slides"].values():
        if record.outcome == "report":
            continue
        shown = tuple(e.id for e in looked if e.region.slide == record.id)[:MAX_CITES]
        why = f" ({'; '.join(record.quality)})" if record.quality else ""
        verdict = "supported" if shown else "unsupported"
        reason = None if shown else "no field to show"
        text = f"No diagnosis is drafted on {record.id}: {record.outcome}{why}."
        drafts.append(_rule("quality", text, shown, verdict=verdict, reason=reason, slide=record.id))
    return drafts


def _one_slide(draft: Draft, of_slide: Mapping[str, str]) -> str | None:
    """The slide that a claim speaks of, where all that it cites lies on one."""
    slides = {of_slide.get(i) for i in draft["evidence"]}
    return slides.pop() if len(slides) == 1 else None


def _in_sections(drafts: Sequence[Draft]) -> list[Draft]:
    order = ("answer", "diagnosis", "microscopy", "measurements", "quality")
    return sorted(drafts, key=lambda d: order.index(d["section"]))
