"""Training examples, one function a role: the request of `vlm.roles` and the answer it should get.

Image examples name their tile by index in a prepared tile store; text examples need no image.
Everything is drawn from the seed that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from pathagent_finetune.corpus import belief, sentences, simulate
from pathagent_finetune.corpus.example import Example
from pathagent_finetune.corpus.questions import Question
from pathagent_finetune.corpus.verdicts import shows_topic
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import ModelRequest
from pathagent_tools.core.records import Candidate, Evidence, Findings, Hypothesis, Measurement
from pathagent_tools.core.vocabulary import DIAGNOSES, NOT_ASSESSABLE
from pathagent_tools.vlm import roles

_NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


def describe_example(
    findings: Findings,
    tile: int,
    rng: Random,
    *,
    measurements: Sequence[Measurement] = (),
    field_um: float = 192.0,
) -> Example:
    """Look at a tile, name its slots, say it in a sentence."""
    request = roles.describe(_NO_IMAGE, field_um=field_um, measurements=measurements)
    target = findings.model_dump() | {"sentence": sentences.describe_sentence(findings, rng)}
    return Example(request, target, tile)


def _slides(case: simulate.Case) -> str:
    return roles.slide_text("S1", case.tissue_mm2, case.pieces)


def diagnose_example(case: simulate.Case, rng: Random) -> Example:
    """The belief that the ledger warrants, as percentages."""
    notes = rng.choice(
        (None, None, None, "Follow-up biopsy.", "Abdominal pain.", "HER2 positive on core biopsy.")
    )
    request = roles.diagnose(_slides(case), roles.ledger_text(case.evidence), notes=notes)
    target = [
        {"diagnosis": h.diagnosis, "grade": h.grade, "percent": round(100 * h.probability)}
        for h in belief.differential(case.evidence)
    ]
    return Example(request, {"differential": target})


def judge_example(case: simulate.Case, rng: Random, question: Question | None = None) -> Example:
    """What is asked (by default the diagnosis), what is seen of it, whether that is enough, what lacks."""
    leading = belief.differential(case.evidence)[0]
    asked = question.text if question else rng.choice(("Draft a report.", "What is the diagnosis?"))
    believed = roles.differential_text([leading])
    seen, (enough, missing) = _settles(question, case.evidence, believed)
    request = roles.judge(asked, believed, roles.ledger_text(case.evidence))
    about = question.topic if question else "diagnosis"
    return Example(request, {"about": about, "seen": seen, "sufficient": enough, "missing": missing})


LOOKS_FOR_ABSENCE = 12
"""Fewer looks than this that do not show a thing do not show that it is absent."""


def _settles(
    question: Question | None, evidence: Sequence[Evidence], leading: str
) -> tuple[str, tuple[bool, str]]:
    """(what is seen, (whether that is enough, what is missing)).

    A thing asked for is looked for until it is found or many looks lack it. What decides is said before
    the verdict: how likely, after how many looks.
    """
    read = roles.telling(evidence)
    looks = f"after {len(read)} looks"
    if (
        question is None
        or question.topic in _SUBJECT_FAMILIES
        or question.kind in ("choice", "grade", "where")
    ):
        return f"{leading} {looks}", belief.sufficiency(evidence)
    if question.kind == "not_assessable":
        return "not on H&E", (True, "")
    if question.kind == "count":
        return "on the slide", (True, "")
    shown = [e for e in read if e.findings and shows_topic(e.findings, question.topic)]
    if shown:
        return f"{question.topic} in {shown[0].id}", (True, "")
    if len(evidence) >= LOOKS_FOR_ABSENCE:
        return f"none {looks}", (True, "")
    return f"none {looks}", (False, f"fields that show {question.topic}")


def write_example(case: simulate.Case, rng: Random) -> Example:
    """Report sentences with the ids of their evidence."""
    read, leading = roles.telling(case.evidence), belief.differential(case.evidence)[0]
    return Example(write_request(case), {"sentences": sentences.report_sentences(read, leading, rng)})


def write_request(case: simulate.Case) -> ModelRequest:
    """A case as it is put to a model that writes; the ledger may be empty."""
    return roles.write(
        _slides(case),
        roles.differential_text(belief.differential(case.evidence)),
        roles.ledger_text(case.evidence),
        [e.id for e in roles.telling(case.evidence)],
    )


def cite_example(seed: int, rng: Random) -> Example:
    """Sentences on a ledger that says anything at all: only reading it tells which looks to cite."""
    looks = [
        simulate.evidence_of(i + 1, simulate.random_findings(rng), rng.choice(simulate.PLACES))
        for i in range(rng.randint(3, 16))
    ]
    slots = rng.sample(("architecture", "nuclear_grade", "mitoses", "necrosis", "inflammation"), 4)
    said: list[dict[str, object]] = []
    for slot in slots:
        value = getattr(rng.choice(looks).findings, slot)
        text = sentences.claim_about(slot, value, rng)
        if text is not None:
            shown = [e.id for e in looks if getattr(e.findings, slot) == value]
            said.append({"text": text, "cites": shown[:3]})
    if not said:
        return navigate_example(seed, ("stroma", "necrosis"), rng)
    slides = roles.slide_text("S1", round(rng.uniform(0.5, 14), 1), rng.randint(1, 6))
    request = roles.write(slides, "none", roles.ledger_text(looks), [e.id for e in looks])
    return Example(request, {"sentences": said})


def navigate_example(seed: int, hints: Sequence[str], rng: Random) -> Example:
    """Choose the relevant, abnormal and new among candidates."""
    n, count = rng.randint(4, 12), rng.randint(1, 4)
    goals = (
        "Draft a report.",
        "abnormal glands or tumour cells in tissue not yet seen",
        "tumour beside the lymphoid infiltrate",
        "nuclear grade and mitoses in the lesion",
        *(f"fields that show {h}" for h in hints),
    )
    goal = rng.choice(goals)
    region = Region(slide="S1", x=0, y=0, width=256, height=256, mpp=1.0)
    candidates: list[Candidate] = []
    for i in range(n):
        hint = rng.choice(hints)
        relevance = rng.uniform(0.6, 1) if _named(hint, goal) else rng.uniform(0, 0.9)
        candidates.append(
            Candidate(
                id=f"K{i + 1}",
                region=region,
                hint=hint,
                relevance=relevance,
                anomaly=rng.random(),
                novelty=rng.random(),
            )
        )

    def tenth(x: float) -> int:
        return round(10 * x)

    def score(c: Candidate) -> float:
        return (
            2 * tenth(c.relevance)
            + 2 * tenth(c.anomaly)
            + tenth(c.novelty)
            + (6 if _named(c.hint, goal) else 0)
        )

    order = sorted(candidates, key=lambda c: (-score(c), int(c.id[1:])))[: min(count, n)]
    best = order[0]
    reason = (
        f"{best.hint}: matches the goal"
        if _named(best.hint, goal)
        else f"{best.hint}: abnormal"
        if best.anomaly >= best.relevance
        else f"{best.hint}: relevant"
    )
    request = roles.navigate(goal, {c.id: c.line() for c in candidates}, count)
    return Example(request, {"choose": [c.id for c in order], "reason": reason})


def _named(hint: str, goal: str) -> bool:
    """By whole words: `normal glands` does not stand in `abnormal glands`."""
    return f" {hint} " in f" {goal} "


_SUBJECT_FAMILIES = {
    "invasive tumour": tuple(d for d in DIAGNOSES if d.endswith("carcinoma")),
    "dysplasia": ("adenoma",),
    "inflammation": ("chronic inflammation",),
}
"""Subjects that follow from the belief as a whole: one misread look does not make a tumour."""


def answer_example(case: simulate.Case, question: Question, rng: Random) -> Example:
    """Answer one question from belief and ledger: what it is about, what is seen of it, the answer."""
    read = roles.telling(case.evidence)
    believed = belief.differential(case.evidence)
    state, (seen, said, looks) = "answered", _answer(question, case, read, believed)
    if question.kind == "not_assessable":
        state = "cannot be told from this slide"
    request = roles.answer(
        _slides(case),
        roles.differential_text(believed),
        question.text,
        roles.ledger_text(case.evidence),
        [e.id for e in read],
        options=question.options,
    )
    target = {"about": question.topic, "seen": seen, "class": state, "answer": said}
    return Example(request, target | {"cites": [e.id for e in looks[:3]]})


def _answer(
    question: Question, case: simulate.Case, read: Sequence[Evidence], believed: Sequence[Hypothesis]
) -> tuple[str, str, Sequence[Evidence]]:
    """(what is seen, the answer, the looks that it rests on)."""
    leading, kind, topic = believed[0], question.kind, question.topic
    core = belief.lesion_looks(read, leading)
    if kind == "not_assessable":
        return "not on H&E", NOT_ASSESSABLE, ()
    if kind == "count":
        return f"{case.pieces} piece{'s' if case.pieces != 1 else ''}", str(case.pieces), ()
    if kind == "yesno" and topic in _SUBJECT_FAMILIES:
        found = leading.diagnosis in _SUBJECT_FAMILIES[topic]
        return leading.diagnosis, "yes" if found else "no", core or read[:2]
    if kind == "yesno":
        shown = [e for e in read if e.findings and shows_topic(e.findings, topic)]
        return (f"{topic} in {shown[0].id}", "yes", shown) if shown else ("none", "no", read[:2])
    if kind == "choice":
        fits = next((h.diagnosis for h in believed if h.diagnosis in question.options), leading.diagnosis)
        fits = fits if fits in question.options or not question.options else roles.NONE_FITS
        return leading.diagnosis, fits, core or read[:2]
    if kind == "grade":
        said = leading.grade if leading.grade != "none" else roles.NO_GRADE
        return leading.text, said, core or read[:2]
    if kind == "where":
        places = [e.place for e in core][:7]
        commonest = max(sorted(set(places)), key=places.count) if places else roles.NO_LESION
        return ", ".join(places) or leading.diagnosis, commonest, core or read[:2]
    raise ValueError(f"unknown question kind {kind!r}")


def slot_question_example(findings: Findings, tile: int, rng: Random) -> Example:
    """A question on one region, with its image: the answer role looking for itself."""
    slot = rng.choice(("tissue", "architecture", "nuclear_grade", "mitoses", "necrosis", "inflammation"))
    wording = rng.choice(
        {
            "tissue": ("What tissue is this?", "What is this?", "Which tissue does this region show?"),
            "architecture": ("What is the architecture?", "How is the tissue arranged here?"),
            "nuclear_grade": ("What is the nuclear grade?", "Which nuclear grade do you see?"),
            "mitoses": ("Are there mitoses here?", "How many mitoses are there?"),
            "necrosis": ("Is there necrosis here?", "Is necrosis present in this region?"),
            "inflammation": ("How much inflammation is there?", "Is this region inflamed?"),
        }[slot]
    )
    evidence = simulate.evidence_of(1, findings, rng.choice(simulate.PLACES))
    slides = roles.slide_text("S1", round(rng.uniform(0.5, 14), 1), rng.randint(1, 6))
    request = roles.answer(slides, "none", wording, evidence.line(), ["E1"], images=[_NO_IMAGE])
    value = getattr(findings, slot)
    about = slot.replace("_", " ")
    seen = f"{about} {value}"
    target = {"about": about, "seen": seen, "class": "answered", "answer": value, "cites": ["E1"]}
    return Example(request, target, tile)


def with_image(example: Example, image: np.ndarray[Any, np.dtype[np.uint8]]) -> ModelRequest:
    """The example's request with the pixels of its tile."""
    return replace(example.request, images=(image,)) if example.tile is not None else example.request
