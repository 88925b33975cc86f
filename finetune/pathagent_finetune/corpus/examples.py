"""Training examples, one function a role: the request of `vlm.roles` and the answer it should get.

Image examples name their tile by index in a prepared tile store; text examples need no image.
Everything is drawn from the seed that is passed in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from pathagent_finetune.corpus import belief, sentences, simulate
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import ModelRequest
from pathagent_tools.core.records import Candidate, Evidence, Findings, Hypothesis, Measurement
from pathagent_tools.core.vocabulary import DIAGNOSES, NOT_ASSESSABLE, SLOTS
from pathagent_tools.vlm import roles

_NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Example:
    """A request, its target, and the index of its tile (None for text-only roles)."""

    request: ModelRequest
    target: dict[str, Any]
    tile: int | None = None

    @property
    def target_text(self) -> str:
        """The exact text that the grammar lets a model write."""
        return json.dumps(self.target, ensure_ascii=False)


def describe_example(
    findings: Findings, tile: int, rng: Random, *, measurements: Sequence[Measurement] = ()
) -> Example:
    """Look at a tile, name its slots, say it in a sentence."""
    request = roles.describe(_NO_IMAGE, field_um=192, measurements=measurements)
    target = findings.model_dump() | {"sentence": sentences.describe_sentence(findings, rng)}
    return Example(request, target, tile)


def _other(slot: str, value: str, rng: Random) -> str:
    return rng.choice([v for v in SLOTS[slot] if v != value])


def verify_tile_example(findings: Findings, tile: int, rng: Random) -> Example:
    """A claim on one slot, or the diagnosis, of one look, with its image and its ledger line."""
    line = simulate.evidence_of(rng.randint(1, 24), findings, rng.choice(simulate.PLACES)).line()
    families = simulate.families_of(findings)
    if families and rng.random() < 0.25:
        true = rng.random() < 0.5
        family = families[0] if true else rng.choice([d for d in DIAGNOSES if d not in families])
        claimed = Hypothesis(diagnosis=family, grade=rng.choice(DIAGNOSES[family]), probability=0.5)
        words = {"low": "grade 1", "intermediate": "grade 2", "high": "grade 3"}
        if true and "grade 1" in DIAGNOSES[family]:
            grade = words.get(findings.nuclear_grade, "grade 1")
            claimed = claimed.model_copy(update={"grade": grade})
        verdict = "supported" if true else "contradicted"
        claim = sentences.diagnosis_claim(claimed, rng)
        return Example(roles.verify(claim, line, [_NO_IMAGE]), {"verdict": verdict}, tile)
    slot = rng.choice(("architecture", "nuclear_grade", "mitoses", "necrosis", "inflammation", "tissue"))
    value = getattr(findings, slot)
    said = value if rng.random() < 0.5 else _other(slot, value, rng)
    about = sentences.claim_about(slot, said, rng)
    if about is None:
        return describe_example(findings, tile, rng)
    verdict = "supported" if belief.shows(findings, slot, said) else "contradicted"
    grade_less = slot == "nuclear_grade" and findings.nuclear_grade == "none"
    if grade_less or (slot in ("mitoses", "inflammation") and findings.tissue == "background"):
        verdict = "unsupported"
    return Example(roles.verify(about, line, [_NO_IMAGE]), {"verdict": verdict}, tile)


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


def judge_example(case: simulate.Case, rng: Random, questions: Sequence[str] = ()) -> Example:
    """Whether the ledger settles the leading diagnosis, and what is missing."""
    leading = belief.differential(case.evidence)[0]
    question = rng.choice(("Draft a report.", "What is the diagnosis?", "Draft a report.", *questions[:1]))
    text = f"{leading.text} ({round(100 * leading.probability)} %)"
    enough, missing = belief.sufficiency(case.evidence)
    request = roles.judge(question, text, roles.ledger_text(case.evidence))
    return Example(request, {"sufficient": enough, "missing": missing})


def write_example(case: simulate.Case, rng: Random) -> Example:
    """Report sentences with the ids of their evidence."""
    read = roles.telling(case.evidence)
    believed = belief.differential(case.evidence)
    request = roles.write(
        _slides(case),
        roles.differential_text(believed),
        roles.ledger_text(case.evidence),
        [e.id for e in read],
    )
    return Example(request, {"sentences": sentences.report_sentences(read, believed[0], rng)})


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


def verify_case_example(case: simulate.Case, rng: Random) -> Example:
    """A report sentence with the looks that it cites: right, wrong, or citing what cannot carry it."""
    read = roles.telling(case.evidence)
    leading = belief.differential(case.evidence)[0]
    facts = belief.report_facts(read, leading)
    slot = rng.choice([*facts, "diagnosis"])
    if slot == "diagnosis":
        core = belief.lesion_looks(read, leading) or list(read)
        if rng.random() < 0.5:
            claim, verdict = sentences.diagnosis_claim(leading, rng), "supported"
        else:
            family = rng.choice([d for d in DIAGNOSES if d != leading.diagnosis])
            other = Hypothesis(diagnosis=family, grade=rng.choice(DIAGNOSES[family]), probability=0.5)
            claim, verdict = sentences.diagnosis_claim(other, rng), "contradicted"
        cited = core[:3]
    else:
        value, looks = facts[slot]
        cited = list(looks[:3])
        verdict = "supported"
        if rng.random() < 0.5:
            wrong = _other(slot, value, rng)
            if not any(e.findings and belief.shows(e.findings, slot, wrong) for e in cited):
                value, verdict = wrong, "contradicted"
        said = sentences.claim_about(slot, value, rng)
        if said is None:
            return write_example(case, rng)
        claim = said
        if slot == "nuclear_grade" and all(e.findings and e.findings.nuclear_grade == "none" for e in cited):
            verdict = "unsupported"
    if not cited:
        return write_example(case, rng)
    return Example(roles.verify(claim, "\n".join(e.line() for e in cited)), {"verdict": verdict})


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
        relevance = rng.uniform(0.6, 1) if hint in goal else rng.uniform(0, 0.9)
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
        return 2 * tenth(c.relevance) + 2 * tenth(c.anomaly) + tenth(c.novelty) + (6 if c.hint in goal else 0)

    order = sorted(candidates, key=lambda c: (-score(c), int(c.id[1:])))[: min(count, n)]
    best = order[0]
    reason = (
        f"{best.hint}: matches the goal"
        if best.hint in goal
        else f"{best.hint}: abnormal"
        if best.anomaly >= best.relevance
        else f"{best.hint}: relevant"
    )
    request = roles.navigate(goal, {c.id: c.line() for c in candidates}, count)
    return Example(request, {"choose": [c.id for c in order], "reason": reason})


_SUBJECT_SLOTS: dict[str, tuple[str, str]] = {
    "necrosis": ("necrosis", "present"),
    "mitoses": ("mitoses", "few|many"),
    "adipose": ("tissue", "adipose"),
    "mucin": ("tissue", "mucin"),
}
_SUBJECT_FAMILIES = {
    "invasive tumour": tuple(d for d in DIAGNOSES if d.endswith("carcinoma")),
    "dysplasia": ("adenoma",),
    "inflammation": ("chronic inflammation",),
}
"""Subjects that follow from the belief as a whole: one misread look does not make a tumour."""


def looks_showing(subject: str, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The looks whose findings show the subject of a yes/no question."""
    slot, values = _SUBJECT_SLOTS[subject]
    pools = subject == "mucin"
    return [
        e
        for e in evidence
        if e.findings
        and (
            getattr(e.findings, slot) in values.split("|")
            or (pools and e.findings.architecture == "mucin pools")
        )
    ]


def answer_example(
    case: simulate.Case, kind: str, subject: str, text: str, rng: Random, *, options: Sequence[str] = ()
) -> Example:
    """Answer one question from the ledger; the kind says how, the wording is the caller's."""
    read = roles.telling(case.evidence)
    believed = belief.differential(case.evidence)
    core = belief.lesion_looks(read, believed[0])
    state, cites = "answered", [e.id for e in core[:3]]
    if kind == "not_assessable":
        state, said, cites = "cannot be told from this slide", NOT_ASSESSABLE, []
    elif kind == "yesno" and subject in _SUBJECT_FAMILIES:
        said = "yes" if believed[0].diagnosis in _SUBJECT_FAMILIES[subject] else "no"
        cites = cites or [e.id for e in read[:2]]
    elif kind == "yesno":
        shown = looks_showing(subject, read)
        said, cites = ("yes", [e.id for e in shown[:3]]) if shown else ("no", [e.id for e in read[:2]])
    elif kind == "choice":
        said = next((h.diagnosis for h in believed if h.diagnosis in options), believed[0].diagnosis)
    elif kind == "grade":
        said = believed[0].grade
        if said == "none":
            said = "no grade applies"
    elif kind == "count":
        said, cites = str(case.pieces), []
    elif kind == "where":
        places = [e.place for e in core]
        said = max(sorted(set(places)), key=places.count) if places else "no lesion seen"
    else:
        raise ValueError(f"unknown question kind {kind!r}")
    request = roles.answer(
        _slides(case), text, roles.ledger_text(case.evidence), [e.id for e in read], options=options
    )
    return Example(request, {"class": state, "answer": said, "cites": cites})


def verify_answer_example(
    case: simulate.Case, kind: str, subject: str, text: str, rng: Random, *, options: Sequence[str] = ()
) -> Example:
    """`question answer` with the looks that the answer cites: the right answer or another one."""
    asked = answer_example(case, kind, subject, text, rng, options=options)
    cited = [e for e in case.evidence if e.id in asked.target["cites"]]
    said, verdict = str(asked.target["answer"]), "supported"
    others = {"yesno": ["no" if said == "yes" else "yes"], "choice": list(DIAGNOSES)}.get(kind, [])
    others = [o for o in others if o != said]
    if kind not in ("yesno", "choice") or not cited:
        return verify_case_example(case, rng)
    if rng.random() < 0.5:
        said, verdict = rng.choice(others), "contradicted"
    evidence = "\n".join(e.line() for e in cited)
    return Example(roles.verify(f"{text} {said}", evidence), {"verdict": verdict})


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
    request = roles.answer(slides, wording, evidence.line(), ["E1"], images=[_NO_IMAGE])
    return Example(request, {"class": "answered", "answer": getattr(findings, slot), "cites": ["E1"]}, tile)


def with_image(example: Example, image: np.ndarray[Any, np.dtype[np.uint8]]) -> ModelRequest:
    """The example's request with the pixels of its tile."""
    return replace(example.request, images=(image,)) if example.tile is not None else example.request
