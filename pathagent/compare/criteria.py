"""Which passages of a knowledge folder speak of what a draft considers: BM25 over their words.

Lexical on purpose: a passage is shown because it holds the words, which the reader can check. The text
tower of a small encoder knows few of the words of a textbook and ranks by what it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pathagent.compare.knowledge import Knowledge
from pathagent_tools.core.compare import Passage
from pathagent_tools.core.records import Evidence, Hypothesis

EACH: Final = 2
"""Passages shown of one search."""
LEAST: Final = 0.1
"""Probability below which a hypothesis is not searched for."""
HYPOTHESES: Final = 3


@dataclass(frozen=True, slots=True)
class Search:
    """must: words of which a passage holds more than half. more: words that only help to rank."""

    must: str
    more: str = ""


def searches_of(differential: Sequence[Hypothesis], looks: Sequence[Evidence]) -> list[Search]:
    """What to look up for a draft: each likely hypothesis with the findings, then the first finding."""
    seen = list(dict.fromkeys(_seen(look) for look in looks if look.findings))
    found: dict[str, Search] = {}
    for likely in [h for h in differential if h.probability >= LEAST][:HYPOTHESES]:
        more = seen if likely.grade == "none" else [likely.grade, *seen]
        found.setdefault(likely.diagnosis, Search(likely.diagnosis, ", ".join(more)))
    return [*found.values(), *(Search(words) for words in seen[:1])]


def _seen(look: Evidence) -> str:
    """`invasive tumour, irregular glands`: what passages name, unlike amounts and grades."""
    assert look.findings is not None
    words = [look.findings.tissue, look.findings.architecture]
    return ", ".join(word for word in words if word != "none")


def find_passages(knowledge: Knowledge, searches: Sequence[Search], *, each: int = EACH) -> list[Passage]:
    """The best passages of every search, best first, in the order of searches; each passage once."""
    import bm25s

    pieces = knowledge.pieces
    words = tokens([piece.words for piece in pieces])
    ranker = bm25s.BM25()
    ranker.index(words, show_progress=False)
    known = [set(held) for held in words]
    asked: dict[int, list[str]] = {}
    score: dict[int, float] = {}
    for search in searches:
        must = set(tokens([search.must])[0])
        wanted = [w for w in tokens([f"{search.must} {search.more}"])[0] if w in ranker.vocab_dict]
        fit = [n for n, held in enumerate(known) if 2 * len(must & held) > len(must)]
        scores = ranker.get_scores(wanted) if fit else []
        for n in sorted(fit, key=lambda n: (-scores[n], n))[:each]:
            asked.setdefault(n, []).append(search.must)
            score.setdefault(n, round(float(scores[n]), 3))
    return [
        Passage(
            id=f"P{number}",
            file=pieces[n].file,
            line=pieces[n].line,
            heading=pieces[n].heading,
            text=pieces[n].text,
            score=score[n],
            asked=tuple(words),
        )
        for number, (n, words) in enumerate(asked.items(), 1)
    ]


def tokens(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text, small, without English stop words."""
    import bm25s

    split: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords="en", return_ids=False, show_progress=False
    )
    return split
