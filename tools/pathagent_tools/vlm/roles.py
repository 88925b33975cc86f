"""The seven questions that the agents ask a model: prompt, images, and the schema of the answer.

Training and running build their requests here and nowhere else, so a model is asked in a run
exactly as it was in training. Every field of every schema is bounded (enum, range, length, count):
a weak model under a grammar otherwise writes an unbounded field to the token limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pathagent_prompts import load
from pathagent_tools.core.protocols import Image, ModelRequest, Role
from pathagent_tools.core.records import Evidence, Hypothesis, Measurement
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE, SLOTS
from pathagent_tools.encoders.tissue_map import mapped_tissues, tumour_grade
from pathagent_tools.measure.mitoses import amount

LEDGER_LINES = 16
"""A model reads at most this many ledger lines; `ledger_text` keeps the most telling ones."""
NO_LOOKS = "none"
"""The ledger of a case that nothing was looked at in."""

_WEIGHT = {
    "invasive tumour": 6,
    "dysplastic epithelium": 5,
    "necrosis": 4,
    "lymphoid infiltrate": 3,
    "mucin": 2,
    "benign epithelium": 1,
}

Schema = dict[str, Any]


def _object(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _text(max_length: int) -> Schema:
    return {"type": "string", "maxLength": max_length}


def _ids(ids: Sequence[str], at_least: int, at_most: int) -> Schema:
    items: Schema = {"enum": list(ids)} if ids else _text(1)
    return {
        "type": "array",
        "items": items,
        "minItems": min(at_least, len(ids)),
        "maxItems": min(at_most, len(ids)),
    }


def _request(
    role: Role, schema: Schema, images: Sequence[Image], max_tokens: int, **words: str
) -> ModelRequest:
    prompt = load(role)
    system, user = prompt.render(**words)
    return ModelRequest(role, system, user, schema, tuple(images), max_tokens, prompt.sha256)


def one_line(text: str | None, limit: int = 400) -> str:
    """User text as one bounded line: white space collapsed, braces and chat markers defused."""
    flat = " ".join((text or "").split())
    flat = flat.replace("<|", "< |").replace("{{", "{ {").replace("}}", "} }")
    return flat[:limit] or "none"


def measurements_text(measurements: Sequence[Measurement], field_um: float) -> str:
    """`nuclei 2310 per mm2, nuclear area 48 um2, mitotic figures 2, mitoses few, map stroma, mucin`, or
    `nothing`.

    field_um: side of the field, which makes a density of a count.
    """
    by_name = {m.name: m.value for m in measurements}
    parts = []
    if "nuclei_per_mm2" in by_name:
        parts.append(f"nuclei {round(by_name['nuclei_per_mm2'], -1):.0f} per mm2")
    if "nuclear_area" in by_name:
        parts.append(f"nuclear area {by_name['nuclear_area']:.0f} um2")
    if "mitotic_figures" in by_name:
        count = round(by_name["mitotic_figures"])
        parts.append(f"mitotic figures {count}, mitoses {amount(count, (field_um / 1000) ** 2)}")
    if tissues := mapped_tissues(measurements):
        parts.append(f"map {', '.join(tissues)}")
    if grade := tumour_grade(measurements):
        parts.append(f"map grade {grade}")
    return ", ".join(parts) or "nothing"


def slide_text(slide: str, tissue_mm2: float, pieces: int) -> str:
    """`S1: tissue 3.1 mm2 in 2 pieces.`"""
    return f"{slide}: tissue {tissue_mm2:.1f} mm2 in {pieces} piece{'s' if pieces != 1 else ''}."


def telling(evidence: Sequence[Evidence], limit: int = LEDGER_LINES) -> list[Evidence]:
    """The evidence that a model reads: all of it, or the `limit` most telling looks in id order."""

    def weight(item: Evidence) -> tuple[int, float]:
        if item.findings is None:
            return (-1, 0.0)
        extra = (item.findings.nuclear_grade == "high") + (item.findings.mitoses == "many")
        return (_WEIGHT.get(item.findings.tissue, 0) * 4 + extra, item.confidence or 0.0)

    ranked = sorted(range(len(evidence)), key=lambda i: (weight(evidence[i]), -i), reverse=True)
    return [evidence[i] for i in sorted(ranked[:limit])]


def ledger_text(evidence: Sequence[Evidence]) -> str:
    """The ledger as a model reads it, one line a look."""
    return "\n".join(item.line() for item in telling(evidence)) or NO_LOOKS


def differential_text(differential: Sequence[Hypothesis]) -> str:
    """`adenocarcinoma, grade 2 (85 %); adenoma, high-grade dysplasia (10 %)`."""
    return "; ".join(f"{h.text} ({round(100 * h.probability)} %)" for h in differential) or "none"


def describe(image: Image, *, field_um: float, measurements: Sequence[Measurement] = ()) -> ModelRequest:
    """Structured findings and one sentence for one region."""
    schema = _object(**{slot: {"enum": list(values)} for slot, values in SLOTS.items()}, sentence=_text(220))
    return _request(
        "describe",
        schema,
        [image],
        160,
        field_um=f"{field_um:.0f}",
        measurements=measurements_text(measurements, field_um),
    )


def navigate(goal: str, candidates: Mapping[str, str], count: int) -> ModelRequest:
    """Choose `count` of the candidates (id → line), with a reason."""
    schema = _object(choose=_ids(list(candidates), count, count), reason=_text(120))
    return _request(
        "navigate",
        schema,
        [],
        120,
        goal=one_line(goal, 160),
        count=str(min(count, len(candidates))),
        candidates="\n".join(candidates.values()),
    )


def diagnose(slides: str, ledger: str, *, notes: str | None = None) -> ModelRequest:
    """A differential of one to three hypotheses with percentages."""
    hypothesis = _object(
        diagnosis=_text(60),
        grade=_text(24),
        percent={"type": "integer", "minimum": 0, "maximum": 100},
    )
    schema = _object(differential={"type": "array", "items": hypothesis, "minItems": 1, "maxItems": 3})
    return _request("diagnose", schema, [], 160, slides=slides, ledger=ledger, notes=one_line(notes))


def judge(question: str, leading: str, ledger: str) -> ModelRequest:
    """Is the evidence enough? If not, what is missing, in words that can be searched for.

    The model first names what is asked about and what the evidence shows of it.
    The looks are counted for the model: that nothing was found in twelve of them settles more than in three.
    """
    schema = _object(about=_text(60), seen=_text(80), sufficient={"type": "boolean"}, missing=_text(100))
    looks = 0 if ledger == NO_LOOKS else len(ledger.splitlines())
    words = {"question": one_line(question), "leading": leading, "looks": str(looks), "ledger": ledger}
    return _request("judge", schema, [], 140, **words)


def write(slides: str, differential: str, ledger: str, ids: Sequence[str]) -> ModelRequest:
    """Report sentences, each citing evidence by id (the grammar admits only ids that exist)."""
    sentence = _object(text=_text(240), cites=_ids(ids, 1, 4))
    schema = _object(sentences={"type": "array", "items": sentence, "minItems": 1, "maxItems": 7})
    return _request("write", schema, [], 420, slides=slides, differential=differential, ledger=ledger)


def verify(claim: str, look: str, images: Sequence[Image] = ()) -> ModelRequest:
    """One claim against one look, in a context that holds nothing else.

    The model first names what the claim says and what the look shows, then whether they agree.
    """
    schema = _object(
        said=_text(80), seen=_text(80), verdict={"enum": ["supported", "contradicted", "unsupported"]}
    )
    return _request("verify", schema, images, 60, claim=one_line(claim), look=look)


NONE_FITS, NO_GRADE, NO_LESION = "none of these", "no grade applies", "no lesion seen"
"""Answers to questions whose options all do not fit."""
ANSWER_CLASSES = ("answered", "cannot be told from this slide", "insufficient evidence")


def answer(
    slides: str,
    differential: str,
    question: str,
    ledger: str,
    ids: Sequence[str],
    *,
    options: Sequence[str] = (),
    images: Sequence[Image] = (),
) -> ModelRequest:
    """A short answer with its class and the evidence that it rests on.

    The model first names what is asked about and what the evidence shows of it. Where options are given the
    answer is one of them, or says that none fits or that the slide cannot tell.
    """
    outs = (NONE_FITS, NO_GRADE, NO_LESION, NOT_ASSESSABLE)
    words = {"enum": list(dict.fromkeys((*options, *outs)))} if options else _text(160)
    schema = _object(
        about=_text(60),
        seen=_text(120),
        **{"class": {"enum": list(ANSWER_CLASSES)}},
        answer=words,
        cites=_ids(ids, 0, 4),
    )
    return _request(
        "answer",
        schema,
        images,
        140,
        slides=slides,
        differential=differential,
        question=one_line(question),
        options=one_line("; ".join(options)),
        ledger=ledger,
    )
