"""What a draft may be compared with: passages and cases that the user gave. None of it is evidence.

Their ids are of their own kind (`P1`, `N1`): a claim cites looks (`E1`), and a report refuses one that
cites anything here.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from pathagent_tools.core.geometry import Frozen

NOT_EVIDENCE: Final = (
    "Not evidence from this slide. What follows was given by the user to compare with; no model read it, "
    "and no sentence of the draft rests on it."
)


class Passage(Frozen):
    """A piece of a text of the user's knowledge folder, quoted as data."""

    id: str = Field(pattern=r"^P[1-9][0-9]*$")
    file: str = Field(description="path inside the knowledge folder")
    line: int = Field(ge=1, description="line of the file at which it begins")
    heading: str = Field(description="the headings above it, outermost first; empty where there are none")
    text: str
    score: float = Field(description="BM25 of the first that found it: a rank, nothing more")
    asked: tuple[str, ...] = Field(description="the words of the draft that found it")


class SimilarCase(Frozen):
    """A slide of the user's case index that looks like a slide of this case."""

    id: str = Field(pattern=r"^N[1-9][0-9]*$")
    slide: str = Field(description="the slide of this case that it is like")
    name: str = Field(description="its file name when it was indexed")
    slide_digest: str
    text: str = Field(default="", description="what was reported of it, where the index says")
    likeness: float = Field(description="cosine of the two slides' embeddings")


class Compared(Frozen):
    """The section "Compare" of a report."""

    note: str = NOT_EVIDENCE
    passages: tuple[Passage, ...] = ()
    cases: tuple[SimilarCase, ...] = ()
    said: tuple[str, ...] = Field(default=(), description="what was searched, and what was not found")

    @property
    def items(self) -> tuple[Passage | SimilarCase, ...]:
        """Passages, then cases: their order on a page."""
        return (*self.passages, *self.cases)
