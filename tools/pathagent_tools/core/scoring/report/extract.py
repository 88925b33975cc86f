"""From the text of a report to its facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from pathagent_tools.core.scoring.report import numbers
from pathagent_tools.core.scoring.report.clauses import Clauses
from pathagent_tools.core.scoring.report.fact import Fact
from pathagent_tools.core.scoring.report.microscopy import microscopy
from pathagent_tools.core.scoring.report.terms import Hit, longest_hits, vocabulary

SLOTS: Final = (
    "specimen", "organ", "procedure", "diagnosis", "grade", "laterality", "margin", "nodes", "stage",
    "biomarker", "measurement", "extent", "architecture", "nuclear_grade", "mitoses", "necrosis",
    "inflammation",
)  # fmt: skip
"""The slots of a report, in the order of a table."""

_HEADER = re.compile(r"^\s*([^;:.\n]{3,120})(?:;|\n)")
_PRIMARY = re.compile(r"(?:from|of) (?:the |a )?$|^ (?:primary|origin)", re.IGNORECASE)
_SIDE = re.compile(r"\b(left|right|bilateral)\b(?! (?:angle|open|out|blank)\b)", re.IGNORECASE)
_TYPES = re.compile(r"\btypes?:\s*([a-z ,]+)", re.IGNORECASE)
_POSITIVE = (
    r"(?:positiv\w*|\b3\s?\+|expressed|overexpress\w*|amplified|reactive|detected|present|identified|seen)"
)
_NEGATIVE = (
    r"(?:negativ\w*|\b[01]\+|\b0\b|absent|not (?:expressed|detected|amplified|present|identified|seen)"
    r"|loss of expression|wild[- ]type)"
)


@lru_cache(maxsize=8192)
def extract(text: str) -> frozenset[Fact]:
    """Every fact that the text states, denies or leaves open. An empty text has none."""
    if not text.strip():
        return frozenset()
    clauses = Clauses(text)
    return frozenset(
        [
            *_where_from(text),
            *_diagnoses(text, clauses),
            *_terms("specimen", text, clauses),
            *_terms("extent", text, clauses),
            *_architecture(text, clauses),
            *(Fact("laterality", "side", m[1].lower()) for m in _SIDE.finditer(text)),
            *_biomarkers(text, clauses),
            *numbers.grades(text, clauses),
            *numbers.margins(text, clauses),
            *numbers.nodes(text, clauses),
            *numbers.stages(text),
            *numbers.measurements(text, clauses),
            *microscopy(text, clauses),
        ]
    )


def _where_from(text: str) -> Iterator[Fact]:
    """Organ and procedure: of the first line where it names them, else of the whole text."""
    header = _HEADER.match(text)
    for slot in ("organ", "procedure"):
        inside = longest_hits(slot, header[1]) if header else []
        hits = inside or [hit for hit in longest_hits(slot, text) if not _is_origin(text, hit)]
        others = any(hit.key != "lymph node" for hit in hits)
        yield from (Fact(slot, hit.key) for hit in hits if not (others and hit.key == "lymph node"))


def _is_origin(text: str, hit: Hit) -> bool:
    """`from colon primary` names where a metastasis comes from, not what was sampled."""
    before, after = text[max(0, hit.start - 12) : hit.start], text[hit.end : hit.end + 10]
    return bool(_PRIMARY.search(before) and _PRIMARY.search(after))


def _diagnoses(text: str, clauses: Clauses) -> Iterator[Fact]:
    hits = longest_hits("diagnosis", text)
    for hit in hits:
        normal = hit.key == "no significant abnormality"
        polarity = "present" if normal else clauses.polarity(hit.start, hit.end)
        yield Fact("diagnosis", hit.key, polarity)
    for hit in longest_hits("denied", text):
        inside = any(h.start <= hit.start < h.end for h in hits)
        first, last = clauses.around(hit.start)
        if (
            not inside
            and "margin" not in text[first:last].lower()
            and clauses.polarity(hit.start, hit.end) == "absent"
        ):
            yield Fact("diagnosis", hit.key, "absent")


def _terms(slot: str, text: str, clauses: Clauses) -> Iterator[Fact]:
    spread = longest_hits("extent", text) if slot == "specimen" else []
    for hit in longest_hits(slot, text):
        if not any(s.start <= hit.start < s.end for s in spread):
            yield Fact(slot, hit.key, clauses.polarity(hit.start, hit.end))


def _architecture(text: str, clauses: Clauses) -> Iterator[Fact]:
    """Patterns that are stated; a pattern that is denied says nothing of the one that is there."""
    for hit in longest_hits("architecture", text):
        if clauses.polarity(hit.start, hit.end) == "present":
            yield Fact("architecture", hit.key)
    for listed in _TYPES.finditer(text):
        yield from (Fact("architecture", hit.key) for hit in longest_hits("types", listed[1]))


def _biomarkers(text: str, clauses: Clauses) -> Iterator[Fact]:
    """Each marker with what is said of it in its clause; a marker that is only named is no fact."""
    for term in vocabulary()["biomarker"]:
        for match in term.pattern.finditer(text):
            first, last = clauses.around(match.start())[0], clauses.around(match.end())[1]
            value = _result(term.key, text[first : match.start()], text[match.end() : last])
            if value:
                yield Fact("biomarker", term.key, value)


def _result(marker: str, before: str, after: str) -> str | None:
    percent = re.search(r"^[^,;]{0,30}?(\d+(?:\.\d+)?)\s*%", after)
    if marker == "Ki-67" and percent:
        return f"{float(percent[1]):g} %"
    near = re.split(r",|\band (?:positive|negative) for\b", after)[0][:60]
    if marker == "HER2" and (score := re.search(r"\b([0-3])\s?\+|\bscore\s*:?\s*([0-3])\b", near)):
        return {"2": "equivocal", "3": "positive"}.get(score[1] or score[2], "negative")
    if listed := re.search(
        r"\b(positive|negative) for\b(?:(?!positive|negative)[\w\s/,.-]){0,60}$", before, re.IGNORECASE
    ):
        return listed[1].lower()
    for value, pattern in {"negative": _NEGATIVE, "equivocal": r"equivocal", "positive": _POSITIVE}.items():
        if re.search(rf"^[^,;.]{{0,40}}?{pattern}", near, re.IGNORECASE):
            return value
    adjacent = re.search(r"\b(positive|negative) $", before, re.IGNORECASE)
    return adjacent[1].lower() if adjacent else None
