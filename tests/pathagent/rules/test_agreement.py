"""A check is held to the words in which it named what is said and what is seen."""

from __future__ import annotations

import pytest

from pathagent.rules.agreement import verdict_of


@pytest.mark.parametrize(
    ("said", "seen", "verdict", "held_to"),
    [
        ("stroma", "stroma", "contradicted", "supported"),
        ("stroma, adipose", "adipose", "unsupported", "supported"),
        ("stroma", "invasive tumour", "supported", "contradicted"),
        ("benign epithelium, smooth muscle", "dysplastic epithelium", "supported", "contradicted"),
        ("grade low", "grade high", "supported", "contradicted"),
        ("grade low", "grade none", "supported", "unsupported"),
        ("mucin present", "mucin absent", "supported", "contradicted"),
        ("adenoma", "no significant abnormality", "supported", "unsupported"),
        ("upper left", "centre", "supported", "contradicted"),
        ("necrosis absent", "mitoses many", "supported", "supported"),
        ("the claim", "the look", "supported", "supported"),
        ("solid growth", "nests of cells", "contradicted", "contradicted"),
    ],
)
def test_the_verdict_follows_what_was_named(said: str, seen: str, verdict: str, held_to: str) -> None:
    assert verdict_of({"said": said, "seen": seen, "verdict": verdict}) == held_to


def test_an_unusable_answer_is_no_verdict() -> None:
    assert verdict_of(None) == verdict_of({}) == ""
