"""Grades, stages, nodes and measurements: the facts of a report that are numbers or codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pathagent_tools.core.scoring.report.clauses import Clauses
from pathagent_tools.core.scoring.report.fact import Fact

_ROMAN: Final = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}
_DIFFERENTIATED: Final = {"well": "1", "moderately": "2", "poorly": "3"}
_GLEASON = re.compile(
    r"gleason(?:'?s)?(?: score| grade| sum)?[\s:]*(?:\d{1,2}\s*)?[(=\s]*(\d)\s*\+\s*(\d)", re.I
)
_GROUP = re.compile(r"\b(?:grade group|isup(?: grade)?|who grade group)[\s:]*([1-5])\b", re.I)
_GRADE = re.compile(
    r"(?<!nuclear )(?<!high[ -])(?<!low[ -])"
    r"\bgrade(?: group)?[\s:]*(?:is |of )?([1-4]|iv|i{1,3})\b(?!\s*[+/])|\bG([1-4])\b",
    re.I,
)
_FUHRMAN = re.compile(r"fuhrman(?: nuclear)?(?: grade)?[\s:]*([1-4]|iv|i{1,3})\b", re.I)
_DIFFERENTIATION = re.compile(
    r"\b(well|moderately|poorly)[- ]differentiated|\b(well|moderate|poor) differentiation", re.I
)
_DYSPLASIA = re.compile(
    r"\b(low|high)[- ]grade (?:\w+ )?dysplasia|\bdysplasia[,:]?\s*(?:is )?(low|high)\b", re.I
)
_CIN = re.compile(r"\bCIN[\s-]*([1-3]|i{1,3})\b", re.I)
_TIER = re.compile(
    r"\b(low|high)[- ]grade\b(?! (?:\w+ )?(?:dysplasia|squamous|nucle|cytolog|atypia|glioma))", re.I
)
_TIERED = re.compile(r"urothelial|endometri|serous|intraepithelial neoplasia|\bPIN\b", re.I)
_NOTTINGHAM: Final = {
    "tubule score": re.compile(
        r"\btubul\w+(?: formation| differentiation)?(?: score)?\s*[:=]?\s*([1-3])\b", re.I
    ),
    "nuclear score": re.compile(r"\bnuclear (?:grade|pleomorphism|score)\s*[:=]?\s*([1-3])\b", re.I),
    "mitosis score": re.compile(
        r"\bmito(?:ses|tic (?:count|rate|score|activity))\s*[:=]?\s*([1-3])\b(?!\s*(?:/|per))", re.I
    ),
}
_TNM = re.compile(
    r"\b(?:y?[pc])?(?<!\w)(y?[pc])\s?T(is|[0-4][a-d]?)(?:\s*\(\w+\))?(?:[,\s]*(?:y?[pc])?N([0-3][a-c]?|x))?(?:[,\s]*(?:y?[pc])?M([01x]))?",
    re.I,
)
_PN = re.compile(r"\by?[pc]N([0-3][a-c]?)\b", re.I)
_STAGE = re.compile(r"\bstage[\s:]+(0|i{1,3}[abc]?|iv[ab]?)\b", re.I)
_NODE_COUNTS = (
    re.compile(r"\b(\d{1,3})\s*(?:/|of|out of)\s*(\d{1,3})\s*(?:\w+\s+){0,2}(?:lymph )?nodes?", re.I),
    re.compile(r"\bnodes?\b[^.;\n]{0,30}?\(?\b(\d{1,3})\s*/\s*(\d{1,3})\)?", re.I),
)
_NODES = re.compile(r"\b(?:lymph )?nodes?\b", re.I)
_LENGTH = re.compile(r"((?:\d+(?:[.,]\d+)?\s*[x×]\s*){0,2}\d+(?:[.,]\d+)?)\s*(mm|cm)\b", re.I)
_VOLUME = re.compile(r"\btumou?r volume[\s:]*(?:of |is )?(\d+(?:\.\d+)?)\s*%", re.I)
_PATTERN = re.compile(r"\bgleason pattern\s*([45])[\s:]*(\d+(?:\.\d+)?)\s*%", re.I)
_PIECES = re.compile(
    r"(?<!of )\b(\d+) (?:tissue )?(?:pieces?|fragments?|cores?)\b"
    r"|\b(?:pieces|fragments|cores)(?: received)?\s*:\s*(\d+)",
    re.I,
)
_MARGIN_INVOLVED = re.compile(r"\b(involved|positive|at the|extends? to|reach\w*|present at)\b", re.I)
_MARGIN_FREE = re.compile(
    r"\b(free|negative|clear|uninvolved|not involved|unremarkable|tumou?r[- ]free|no tumou?r)\b", re.I
)


def grades(text: str, clauses: Clauses) -> Iterator[Fact]:
    """Slot `grade`: each grading system under its own key."""
    for match in _GLEASON.finditer(text):
        yield Fact("grade", "Gleason", f"{match[1]}+{match[2]}")
    yield from (Fact("grade", "grade group", m[1]) for m in _GROUP.finditer(text))
    for match in _GRADE.finditer(text):
        if "group" not in match[0].lower() and not _FUHRMAN.search(
            text[max(0, match.start() - 20) : match.end()]
        ):
            yield Fact("grade", "grade", _arabic(match[1] or match[2]))
    yield from (Fact("grade", "Fuhrman", _arabic(m[1])) for m in _FUHRMAN.finditer(text))
    for match in _DIFFERENTIATION.finditer(text):
        word = (
            match[1] or {"moderate": "moderately", "poor": "poorly"}.get(match[2].lower(), "well")
        ).lower()
        yield Fact("grade", "grade", _DIFFERENTIATED[word])
    for match in _DYSPLASIA.finditer(text):
        if clauses.polarity(*match.span()) == "present":
            yield Fact("grade", "dysplasia", (match[1] or match[2]).lower())
    yield from (Fact("grade", "CIN", _arabic(m[1])) for m in _CIN.finditer(text))
    for match in _TIER.finditer(text):
        first, last = clauses.around(match.start())
        if _TIERED.search(text[first:last]):
            yield Fact("grade", "tier", match[1].lower())
    for key, pattern in _NOTTINGHAM.items():
        yield from (Fact("grade", key, m[1]) for m in pattern.finditer(text))


def stages(text: str) -> Iterator[Fact]:
    """Slot `stage`: T, N, M with their prefix taken as read, and the stage group."""
    for match in _TNM.finditer(text):
        yield Fact("stage", "T", match[2].lower())
        if match[3]:
            yield Fact("stage", "N", match[3].lower())
        if match[4]:
            yield Fact("stage", "M", match[4].lower())
    yield from (Fact("stage", "N", m[1].lower()) for m in _PN.finditer(text))
    yield from (Fact("stage", "group", m[1].upper()) for m in _STAGE.finditer(text))


def nodes(text: str, clauses: Clauses) -> Iterator[Fact]:
    """Slot `nodes`: how many are positive, of how many; the status alone where no number is given."""
    counts = [m for pattern in _NODE_COUNTS for m in pattern.finditer(text)]
    for match in counts[:1]:
        yield Fact("nodes", "positive", str(int(match[1])))
        yield Fact("nodes", "examined", str(int(match[2])))
        yield Fact("nodes", "status", "positive" if int(match[1]) else "negative")
    for match in [] if counts else _NODES.finditer(text):
        first, last = clauses.around(match.start())
        clause = text[first:last]
        spread = re.search(r"metasta\w+|involve\w*|positive", clause, re.I)
        if spread:
            denied = clauses.polarity(first + spread.start(), first + spread.end()) == "absent"
            yield Fact("nodes", "status", "negative" if denied or "uninvolved" in clause else "positive")
        elif re.search(r"\b(negative|free|uninvolved)\b", clause, re.I):
            yield Fact("nodes", "status", "negative")


def margins(text: str, clauses: Clauses) -> Iterator[Fact]:
    """Slot `margin`: free or involved."""
    for match in re.finditer(r"\bmargins?\b", text, re.I):
        first, last = clauses.around(match.start())
        clause = text[first:last]
        involved = _MARGIN_INVOLVED.search(_MARGIN_FREE.sub("", clause))
        if _MARGIN_FREE.search(clause) and not involved:
            yield Fact("margin", "margin", "free")
        elif involved:
            denied = clauses.polarity(first, first) == "absent" or re.search(r"\b(no|not)\b", clause, re.I)
            yield Fact("margin", "margin", "free" if denied else "involved")
    if resected := re.search(r"\bR([012])\b(?= resection|\)|,|\.|$)", text):
        yield Fact("margin", "margin", "free" if resected[1] == "0" else "involved")


def measurements(text: str, clauses: Clauses) -> Iterator[Fact]:
    """Slot `measurement`: lengths in mm (the largest of a clause), shares in %, pieces of tissue."""
    longest: dict[tuple[int, str], float] = {}
    for match in _LENGTH.finditer(text):
        first, last = clauses.around(match.start())
        what = _measured(text[first : match.start()].split(",")[-1] + text[match.end() : last].split(",")[0])
        sides = [float(side.replace(",", ".")) for side in re.findall(r"[\d.,]+", match[1])]
        mm = max(sides) * (10 if match[2].lower() == "cm" else 1)
        longest[first, what] = max(mm, longest.get((first, what), 0.0))
    for (_, what), mm in longest.items():
        yield Fact("measurement", f"{what} mm", f"{mm:g}")
    yield from (Fact("measurement", "tumour volume %", _plain(m[1])) for m in _VOLUME.finditer(text))
    yield from (
        Fact("measurement", f"Gleason pattern {m[1]} %", _plain(m[2])) for m in _PATTERN.finditer(text)
    )
    yield from (Fact("measurement", "pieces", m[1] or m[2]) for m in _PIECES.finditer(text))


def _measured(words_around: str) -> str:
    """What a length speaks of, by the words around it."""
    for name, words in {"margin": "margin", "depth": "depth|breslow|thick", "length": "length"}.items():
        if re.search(words, words_around, re.I):
            return name
    return "size"


def _plain(number: str) -> str:
    return f"{float(number):g}"


def _arabic(number: str) -> str:
    return _ROMAN.get(number.lower(), number)
