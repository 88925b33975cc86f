"""Phrases as data: text brought to a plain form, and patterns written so that a pathologist can read them.

Knows nothing of pathology; the topics stand in `topics/*.yaml`, which explains the short forms.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_SEPARATOR: Final = r"[^\w.?!;]+"
_MAYBE: Final = r"[^\w?!;]{0,3}"
_GAP: Final = r"[^\w.?!;]+(?:\w+[^\w.?!;]+){0,4}"
_SPACED: Final = re.compile(r"(?<!\w)(?:\w[ .\-·]{1,3}){2,}\w(?!\w)")
_INVISIBLE: Final = {"Cc", "Cf", "Co", "Cs"}
_LETTERS: Final = str.maketrans(
    "ıłøđßæœАВЕКМНОРСТХаеорсхуіΑΒΕΗΙΚΜΝΟΡΤΧ",
    "iloðsæœABEKMHOPCTXaeopcxyiABEHIKMNOPTX".replace("ð", "d"),
)
_LONG_WORD: Final = 12
_SHORTEST_TYPO: Final = 6


def visible(text: str) -> str:
    """Compatibility forms unified; control, zero-width and direction characters removed; lines kept."""
    known = unicodedata.normalize("NFKC", text)
    kept = (c if c in "\n\t" or unicodedata.category(c) not in _INVISIBLE else "" for c in known)
    return "".join(kept)


def plain(text: str) -> str:
    """The text without accents, look-alike letters, underscores and spacing games, in its own case."""
    bare = unicodedata.normalize("NFKD", visible(text).translate(_LETTERS))
    bare = "".join(c for c in bare if not unicodedata.combining(c)).replace("_", " ")
    bare = re.sub(r"[‐‑‒–—−]", "-", bare)
    return _SPACED.sub(lambda found: re.sub(r"[ .\-·]", "", found[0]), bare)


@lru_cache(maxsize=4096)
def pattern(short: str, *, cased: bool = False) -> re.Pattern[str]:
    """Compile a pattern with the short forms of `topics/README.md`."""
    long = short.replace("*", r"\w*").replace(" … ", _GAP).replace("~?", "~")
    long = long.replace(" ", _SEPARATOR).replace("~", _MAYBE)
    tail = "" if short.endswith(("+", "$")) else r"(?!\w)"
    return re.compile(rf"(?<!\w)(?:{long}){tail}", 0 if cased else re.IGNORECASE)


def corrected(text: str, words: frozenset[str]) -> str:
    """Near misses of `words` replaced by them: one slip, or two in words of twelve letters or more.

    A slip is a wrong, missing, extra or swapped letter. The first letter must be right.
    """

    def fix(found: re.Match[str]) -> str:
        word = found[0]
        if len(word) < _SHORTEST_TYPO or word in words:
            return word
        near = [w for w in words if w[0] == word[0] and _within(word, w)]
        return min(near, default=word)

    return re.sub(r"[^\W\d_]+", fix, text)


def _within(word: str, known: str) -> bool:
    allowed = 2 if len(known) >= _LONG_WORD else 1
    return abs(len(word) - len(known)) <= allowed and _slips(word, known) <= allowed


def _slips(a: str, b: str) -> int:
    """Edit distance with swaps of neighbours (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
