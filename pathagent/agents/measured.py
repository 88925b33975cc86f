"""Answers that a tool measures better than a model writes them: a count of pieces, the place of a lesion.

The model says what is asked about and which looks it means; the number and the place are code's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pathagent.agents.coverage import PLACES
from pathagent_tools.core.records import Evidence
from pathagent_tools.core.vocabulary import Verdict


class MeasuredAnswer(NamedTuple):
    """The answer, the looks that show it (a count has none), and why code gives it."""

    text: str
    evidence: tuple[str, ...]
    verdict: Verdict
    reason: str


def measured_answer(
    said: Mapping[str, Any], pieces: Sequence[tuple[str, int]], looks: Mapping[str, Evidence]
) -> MeasuredAnswer | None:
    """The measured answer, where the question is one of those; else None, and the model's stands.

    said: what the model answered. pieces: (slide id, pieces of tissue on its mask) of each slide that was
    read. looks: evidence id → look.
    """
    if said.get("class") != "answered":
        return None
    if said.get("about") == "pieces":
        text = str(pieces[0][1]) if len(pieces) == 1 else "; ".join(f"{id_}: {n}" for id_, n in pieces)
        return MeasuredAnswer(text, (), "unsupported", "counted on the tissue mask; no single look shows it")
    if said.get("about") == "place" and str(said.get("answer")) in PLACES:
        meant = [looks[i] for i in dict.fromkeys(map(str, said.get("cites", []))) if i in looks]
        return _place(meant, list(looks.values())) if meant else None
    return None


def _place(meant: Sequence[Evidence], looks: Sequence[Evidence]) -> MeasuredAnswer:
    """The commonest place of the looks that show the tissue which most of the meant ones show."""
    kinds = [_kind(e) for e in meant]
    kind = max(kinds, key=kinds.count)
    alike = [e for e in looks if _kind(e) == kind]
    places = [e.place for e in alike]
    place = max(sorted(set(places)), key=places.count)
    there = tuple(e.id for e in alike if e.place == place)
    return MeasuredAnswer(
        place, there, "supported", "where most looks lie that show what the model cites for the lesion"
    )


def _kind(look: Evidence) -> tuple[str, ...]:
    found, slide = look.findings, look.region.slide
    return (slide, found.tissue, found.architecture) if found else (slide,)
