"""Verification examples: one claim beside one look. What is said, what is seen, and whether they agree.

The two are named before the verdict in the same words, so that agreeing is reading the same words twice;
a verdict alone was not learned.
"""

from __future__ import annotations

from random import Random

import numpy as np

from pathagent_finetune.corpus import belief, sentences, simulate
from pathagent_finetune.corpus.example import Example
from pathagent_finetune.corpus.questions import Question
from pathagent_tools.core.records import Findings, Hypothesis
from pathagent_tools.core.vocabulary import DIAGNOSES, SLOTS
from pathagent_tools.vlm import roles

_NO_IMAGE = np.zeros((1, 1, 3), np.uint8)
_SLOTS = {
    "architecture": 0.3,
    "nuclear_grade": 0.2,
    "mitoses": 0.15,
    "necrosis": 0.12,
    "inflammation": 0.13,
    "tissue": 0.1,
}
_WORD = {
    "nuclear_grade": "grade ",
    "mitoses": "mitoses ",
    "necrosis": "necrosis ",
    "inflammation": "inflammation ",
}
Judged = tuple[str, str, str]
"""(claim, said, seen)."""


def verify_example(findings: Findings, rng: Random, *, tile: int | None = None) -> Example:
    """A claim on one look: on a slot, on the diagnosis, or (without an image) an answer to a question."""
    place = rng.choice(simulate.PLACES)
    claim, said, seen = _on_diagnosis(findings, rng) if rng.random() < 0.3 else _on_slot(findings, rng)
    return _example(claim, said, seen, findings, place, rng, tile)


def verify_answer_example(
    question: Question, findings: Findings, rng: Random, *, tile: int | None = None
) -> Example:
    """`question answer` on one look: right for that look, or not."""
    place = rng.choice(simulate.PLACES)
    judged = _on_answer(question, findings, place, rng)
    if judged is None:
        return verify_example(findings, rng, tile=tile)
    return _example(*judged, findings, place, rng, tile)


def _example(
    claim: str, said: str, seen: str, findings: Findings, place: str, rng: Random, tile: int | None
) -> Example:
    line = simulate.evidence_of(rng.randint(1, 24), findings, place).line()
    request = roles.verify(claim, line, [_NO_IMAGE] if tile is not None else ())
    return Example(request, {"said": said, "seen": seen, "verdict": verdict(said, seen)}, tile)


def verdict(said: str, seen: str) -> str:
    """Agreement is support; a look that carries nothing of the kind neither supports nor contradicts."""
    if said == seen or seen in said.split(", "):
        return "supported"
    silent = seen in ("none", "grade none") or (seen == belief.NORMAL and said in DIAGNOSES)
    return "unsupported" if silent else "contradicted"


def _on_slot(findings: Findings, rng: Random) -> Judged:
    while True:
        slot = simulate.pick(rng, _SLOTS)
        if slot == "tissue":
            return _on_tissues(findings, rng)
        value = getattr(findings, slot)
        if rng.random() < 0.5:
            value = rng.choice([v for v in SLOTS[slot] if v != value])
        claim = sentences.claim_about(slot, value, rng)
        if claim is not None:
            seen = value if belief.shows(findings, slot, value) else getattr(findings, slot)
            word = _WORD.get(slot, "")
            return claim, f"{word}{value}", f"{word}{seen}"


def _on_tissues(findings: Findings, rng: Random) -> Judged:
    named = rng.sample(SLOTS["tissue"], rng.randint(1, 3))
    if rng.random() < 0.5 and findings.tissue not in named:
        named[rng.randrange(len(named))] = findings.tissue
    return sentences.rest_claim(named, rng), ", ".join(named), findings.tissue


def _on_diagnosis(findings: Findings, rng: Random) -> Judged:
    seen = family_of(findings)
    said = seen if rng.random() < 0.5 else rng.choice([d for d in DIAGNOSES if d != seen])
    claimed = Hypothesis(diagnosis=said, grade=rng.choice(DIAGNOSES[said]), probability=0.5)
    return sentences.diagnosis_claim(claimed, rng), said, seen


def _on_answer(question: Question, findings: Findings, place: str, rng: Random) -> Judged | None:
    right = rng.random() < 0.5
    if question.kind == "yesno":
        shown = shows_topic(findings, question.topic)
        yes = shown == right
        words = {True: f"{question.topic} present", False: f"{question.topic} absent"}
        return f"{question.text} {'yes' if yes else 'no'}", words[yes], words[shown]
    if question.kind == "choice":
        seen = family_of(findings)
        said = seen if right else rng.choice(list(DIAGNOSES))
        return f"{question.text} {said}", said, seen
    if question.kind == "where":
        said = place if right else rng.choice(simulate.PLACES)
        return f"{question.text} {said}", said, place
    if question.kind == "grade":
        grade = rng.choice(list(simulate.NUCLEI))
        said, seen = f"grade {simulate.NUCLEI[grade]}", f"grade {findings.nuclear_grade}"
        return f"{question.text} {grade}", said, seen
    return None


_FAMILIES = {architecture: family for family, architecture in simulate.ARCHITECTURE.items()}


def family_of(findings: Findings) -> str:
    """The diagnosis family that one look carries by itself."""
    if findings.tissue in ("invasive tumour", "dysplastic epithelium"):
        return _FAMILIES.get(findings.architecture, belief.NORMAL)
    return belief.INFLAMED if findings.inflammation != "none" else belief.NORMAL


def shows_topic(findings: Findings, topic: str) -> bool:
    """Whether a look shows the subject of a yes/no question."""
    return {
        "necrosis": findings.necrosis == "present",
        "mitoses": findings.mitoses != "none",
        "adipose": findings.tissue == "adipose",
        "mucin": findings.tissue == "mucin" or findings.architecture == "mucin pools",
        "invasive tumour": findings.tissue == "invasive tumour",
        "dysplasia": findings.tissue == "dysplastic epithelium",
        "inflammation": findings.inflammation != "none",
    }[topic]
