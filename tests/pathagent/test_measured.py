"""Counts and places in answers: measured by code from the looks that the model means."""

from __future__ import annotations

import pytest
from report_cases import evidence, findings

from pathagent.agents.measured import measured_answer
from pathagent_tools.core.records import Evidence

STROMA = findings(tissue="stroma", architecture="none")
PLACE = {"class": "answered", "about": "place", "answer": "centre", "cites": ["E1", "E2"]}


def looks(*places: str, ordinary: int = 4) -> dict[str, Evidence]:
    """Tumour in these places, ordinary stroma in the centre."""
    tumour = [evidence(i + 1, place=place) for i, place in enumerate(places)]
    rest = [
        evidence(len(places) + i + 1, place="centre", findings=STROMA, sentence="Stroma.")
        for i in range(ordinary)
    ]
    return {e.id: e for e in [*tumour, *rest]}


def test_the_place_of_a_lesion_counts_every_look_that_shows_it_not_only_the_cited_ones() -> None:
    seen = looks("upper left", "lower right", "lower right")
    found = measured_answer(PLACE, [("S1", 1)], seen)
    assert found is not None
    assert (found.text, found.evidence, found.verdict) == ("lower right", ("E2", "E3"), "supported")


def test_a_stray_citation_does_not_move_the_lesion() -> None:
    said = PLACE | {"cites": ["E4", "E1", "E2"]}
    found = measured_answer(said, [("S1", 1)], looks("lower left", "lower left"))
    assert found is not None
    assert found.text == "lower left"


def test_looks_on_another_slide_are_another_lesion() -> None:
    seen = looks("upper left") | {
        f"E{i}": evidence(i, slide="S2", place="lower right") for i in range(11, 14)
    }
    found = measured_answer(PLACE | {"cites": ["E1"]}, [("S1", 1), ("S2", 1)], seen)
    assert found is not None
    assert (found.text, found.evidence) == ("upper left", ("E1",))


@pytest.mark.parametrize(("pieces", "text"), [([("S1", 3)], "3"), ([("S1", 3), ("S2", 1)], "S1: 3; S2: 1")])
def test_pieces_are_counted_on_the_mask(pieces: list[tuple[str, int]], text: str) -> None:
    said = {"class": "answered", "about": "pieces", "answer": "7", "cites": []}
    found = measured_answer(said, pieces, {})
    assert found is not None
    assert (found.text, found.evidence) == (text, ())


@pytest.mark.parametrize(
    "said",
    [
        {},
        PLACE | {"class": "insufficient evidence"},
        PLACE | {"answer": "no lesion seen"},
        PLACE | {"cites": []},
        PLACE | {"cites": ["E99"]},
        PLACE | {"about": "tumour", "answer": "yes"},
    ],
)
def test_any_other_answer_stays_the_models(said: dict[str, object]) -> None:
    assert measured_answer(said, [("S1", 1)], looks("upper left")) is None
