"""Mitoses, necrosis, inflammation and nuclear grade: what a report says of them in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pathagent_tools.core.scoring.report.clauses import Clauses
from pathagent_tools.core.scoring.report.fact import Fact

_LEVEL = r"(low|intermediate|high)"
_NUCLEAR = re.compile(
    rf"\b{_LEVEL}[- ]?(?:nuclear[- ])?(?:grade )?(?:nuclei|nuclear grade|cytolog\w+|atypia)\b"
    rf"|\bnuclear[- ]grade\s*:?\s*(?:is |of )?L?{_LEVEL}\b"
    rf"|\b(?:nuclei|nuclear (?:pleomorphism|atypia)|atypia|cytology)\b[^.;:\d]{{0,40}}?:?[\s(]*\b{_LEVEL}\b"
    r"(?=[- ]grade|[;.,)]|\s*$)",
    re.IGNORECASE,
)
_MITOSES = re.compile(r"\b(?:mitos[ie]s|mitotic (?:figures?|count|activity|rate|index))\b", re.IGNORECASE)
_MANY = re.compile(
    r"\b(many|frequent|numerous|brisk|abundant|abound|high(?![- ]grade)|increased)\b", re.IGNORECASE
)
_FEW = re.compile(
    r"\b(few|occasional|scattered|rare|some|infrequent|odd|scarce|low(?![- ]grade)|sparse|single)\b",
    re.IGNORECASE,
)
_NECROSIS = re.compile(r"(?<!fat )\b(?:necrosis|necrotic|comedonecrosis)\b", re.IGNORECASE)
_INFLAMED = re.compile(
    r"\b(?:\w*inflam\w+|lymphocyt\w*|lymphoplasmacytic|lymphoid infiltrate\w*)\b", re.IGNORECASE
)
_MARKED = re.compile(r"\b(marked(ly)?|dense|heavy|heavily|severe|intense|brisk)\b", re.IGNORECASE)
_MILD = re.compile(r"\b(mild(ly)?|slight|minimal|scant)\b", re.IGNORECASE)


def microscopy(text: str, clauses: Clauses) -> Iterator[Fact]:
    """Slots `nuclear_grade`, `mitoses`, `necrosis`, `inflammation`: one fact each, the first that is said."""
    if match := _NUCLEAR.search(text):
        yield Fact("nuclear_grade", "nuclear grade", next(g for g in match.groups() if g).lower())
    for slot, found in {
        "mitoses": _mitoses(text, clauses),
        "necrosis": _necrosis(text, clauses),
        "inflammation": _inflammation(text, clauses),
    }.items():
        if found:
            yield Fact(slot, slot, found)


def _mitoses(text: str, clauses: Clauses) -> str | None:
    for match in _MITOSES.finditer(text):
        near = _segment(text, clauses, match)
        for word, pattern in {"many": _MANY, "few": _FEW}.items():
            if pattern.search(near):
                return word
        if re.match(r"\s*:?\s*none\b", text[match.end() :]) or clauses.polarity(*match.span()) == "absent":
            return "none"
    return None


def _necrosis(text: str, clauses: Clauses) -> str | None:
    """Present wherever one place says so: a report that denies it in one part may show it in another."""
    said = {clauses.polarity(*m.span()) for m in _NECROSIS.finditer(text)}
    return "present" if "present" in said else "absent" if "absent" in said else None


def _inflammation(text: str, clauses: Clauses) -> str | None:
    for match in _INFLAMED.finditer(text):
        near = _segment(text, clauses, match)
        denied = clauses.polarity(*match.span()) == "absent" or re.search(r"\bsparse\b", near, re.IGNORECASE)
        for word, pattern in {"marked": _MARKED, "mild": _MILD}.items():
            if pattern.search(near) and not denied:
                return word
        if denied:
            return "none"
    return None


def _segment(text: str, clauses: Clauses, match: re.Match[str]) -> str:
    """The words around a term up to the next comma or the next term, one short segment behind it too."""
    first, last = clauses.around(match.start())
    before = re.split(r"[,(:]|\band\b", text[first : match.start()])[-1][-40:]
    after = re.split(r"\band\b|(?:necro|inflam|mitos|mitot|lymphoc)", text[match.end() : last])[0]
    head, *rest = after.split(",")
    tail = f",{rest[0]}" if rest and re.match(r"\s*(with \w+ figures|mild|marked|degree)", rest[0]) else ""
    return f"{before}{match[0]}{head}{tail}"
