"""Clauses of a report, and whether what stands in one is stated, denied or left open.

The rules follow NegEx (Chapman et al. 2001): a cue before a term reaches forward to the end of its clause,
a cue behind it reaches back over a few words, and certain words stop either.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Literal

Polarity = Literal["present", "absent", "uncertain"]

_BREAK = re.compile(
    r"[;\n\r\v\f\u2028\u2029]+|(?<=[^\d\s])(?<!\b[A-Z])[.!?](?=\s|$)|(?<=\d)\.(?=\s|$)|\s\d+[.)]\s|\s-\s"
)
_NO = re.compile(
    r"\b(no(?! special type)(?! longer)|not|without|absen(t|ce) of|free of|free from|negative for|lack\w* of"
    r"|lacks|lacking|devoid of|neither|nor|never|nil|exclud\w+)\b",
    re.IGNORECASE,
)
_STOPS = re.compile(
    r"\b(but|however|although|though|except|with|shows?|showing|reveals?|there (is|are)"
    r"|and (many|few|some|marked|mild|slight|moderate|focal|frequent|numerous|is|are|there|the))\b|:",
    re.IGNORECASE,
)
_NO_AFTER = re.compile(
    r"^(?P<gap>(?:[\s,]+(?!not\b|absent|nil|none|no\b)[\w-]+){0,4}?)\s*[:=]?\s*(?:is|are|was|were|been)?\s*"
    r"(?:(?:not|(?:could|can) ?not be) (?:\w+ )?(?:seen|demonstrated|identified|found|present"
    r"|detected|observed|noted|evident|apparent|included"
    r"|prominent|conspicuous|a feature)"
    r"|absent|nil|none|no|negative|wanting|lacking|unremarkable|excluded)\b",
    re.IGNORECASE,
)
_STATED = re.compile(r"\b(present|seen|identified|found|noted|observed|exists?|positive)\b|,", re.IGNORECASE)
_MAYBE = re.compile(
    r"\b(suspicious (for|of)|suspected|suspicion of|possibl[ey]|probabl[ey]|likely|suggest\w*( of)?"
    r"|may (be|represent)"
    r"|cannot exclude|can ?not rule out|rule out|r/o|questionable|equivocal for|versus"
    r"|differential (diagnosis )?includes)\b|, favou?r(ing)?\b|\?",
    re.IGNORECASE,
)
_MAYBE_AFTER = re.compile(
    r"^[\w\s-]{0,20}\b(can ?not be (ruled out|excluded)|is (suspected|possible|likely)|not excluded)|^\s?\?",
    re.IGNORECASE,
)
_LISTED = re.compile(r"(?:[^:]*,)?[^:,]*\b(?:or|nor)\b", re.IGNORECASE)
_REACH = 70
"""Characters that a cue reaches forward."""


class Clauses:
    """The clauses of one text, by position."""

    def __init__(self, text: str) -> None:
        self.text = text
        breaks = [(m.start(), m.end()) for m in _BREAK.finditer(text)]
        self._starts = [0, *(end for _, end in breaks)]
        self._ends = [*(start for start, _ in breaks), len(text)]

    def around(self, at: int) -> tuple[int, int]:
        """(start, end) of the clause at a position."""
        i = bisect_right(self._starts, at) - 1
        return self._starts[i], max(self._ends[i], at)

    def parts(self) -> list[str]:
        """All clauses that are not empty."""
        found = (self.text[a:b].strip() for a, b in zip(self._starts, self._ends, strict=True))
        return [part for part in found if part]

    def polarity(self, start: int, end: int) -> Polarity:
        """What is said of the term at `start:end`."""
        first, last = self.around(start)
        before, after = self.text[first:start][-_REACH * 2 :], self.text[end : max(end, last)]
        if _MAYBE_AFTER.search(after):
            return "uncertain"
        if _reaches(_NO, before, after) or _denied_after(after):
            return "absent"
        return "uncertain" if _reaches(_MAYBE, before, after) else "present"


def _reaches(cue: re.Pattern[str], before: str, after: str) -> bool:
    """Whether the last cue reaches the end of `before`: near, no stop, a comma only inside an `or` list."""
    cues = list(cue.finditer(before))
    if not cues:
        return False
    gap = before[cues[-1].end() :]
    if len(gap) > _REACH or _STOPS.search(gap):
        return False
    return "," not in gap or bool(_LISTED.search(gap) or _LISTED.match(after))


def _denied_after(after: str) -> bool:
    match = _NO_AFTER.search(after)
    return match is not None and not _STATED.search(match["gap"])
