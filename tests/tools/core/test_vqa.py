"""Answers are read as a careful reader would; the compatible column keeps a benchmark's faults to itself."""

from __future__ import annotations

import random

import pytest

from pathagent_tools.core.scoring.vqa import COMPAT, read_answer, vqa_compat, vqa_strict
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

KINDS = ("adenocarcinoma", "mucinous adenocarcinoma", "adenoma", "none of these")
GRADES = ("grade 1", "grade 2", "grade 3")


@pytest.mark.parametrize(
    ("said", "options", "answer"),
    [
        ('{"answer": "adenoma"}', KINDS, "adenoma"),
        ('Let me see. ```json\n{"answer": 2}\n```', KINDS, "mucinous adenocarcinoma"),
        ('{"answer": "C"}', KINDS, "adenoma"),
        ("B", KINDS, "mucinous adenocarcinoma"),
        ("(B) mucinous adenocarcinoma", KINDS, "mucinous adenocarcinoma"),
        ("The answer is B.", KINDS, "mucinous adenocarcinoma"),
        ("Option 3", KINDS, "adenoma"),
        ("Adenoma.", KINDS, "adenoma"),
        ("This is a mucinous adenocarcinoma of the colon.", KINDS, "mucinous adenocarcinoma"),
        ("It is no adenoma but adenocarcinoma", KINDS, "adenocarcinoma"),
        ("grade 3", GRADES, "grade 3"),
        ("Yes, there is necrosis.", ("yes", "no"), "yes"),
        ("The answer is: no.", ("yes", "no"), "no"),
        ("The stroma is oedematous", (), "the stroma is oedematous"),
    ],
)
def test_an_answer_is_read(said: str, options: tuple[str, ...], answer: str) -> None:
    assert read_answer(said, options) == ("answered", answer)


@pytest.mark.parametrize(
    "said",
    [
        "",
        " \u2028",
        "adenoma or adenocarcinoma",
        "B) adenoma",
        "E",
        "Option 9",
        '{"answer": 0}',
        '{"answer": 2.5}',
        '{"answer": null}',
        "A carcinoma of some kind",
        "HTTP 500: internal server error",
        "not adenoma",
    ],
)
def test_what_is_ambiguous_or_says_nothing_is_unread(said: str) -> None:
    assert read_answer(said, KINDS).status == "unparsed"


@pytest.mark.parametrize("said", ["Error: no answer from the server", "No answer was given", "Yes and no"])
def test_a_stray_no_is_no_answer(said: str) -> None:
    assert read_answer(said, ("yes", "no")).status == "unparsed"


@pytest.mark.parametrize(
    "said",
    [
        NOT_ASSESSABLE,
        f"{NOT_ASSESSABLE} (HER2: needs a stain).",
        "Insufficient evidence.",
        '{"answer": "unknown"}',
        "I cannot tell",
    ],
)
def test_abstaining_is_a_class_of_its_own(said: str) -> None:
    assert read_answer(said, KINDS).status == "abstained"
    score = vqa_strict([said, "adenoma"], ["adenoma", "adenoma"], [KINDS, KINDS])
    assert (score.value, score.abstained, score.missing) == (0.5, 1, 0)


def test_an_abstention_is_right_where_it_is_the_answer() -> None:
    options = ("positive", "negative", NOT_ASSESSABLE)
    assert vqa_strict([NOT_ASSESSABLE], [NOT_ASSESSABLE], [options]).value == 1


def test_digits_and_signs_count() -> None:
    assert vqa_strict(["grade 3"], ["grade 2"], [GRADES]).value == 0
    assert vqa_strict(["3+4"], ["4+3"], [()]).value == 0
    assert read_answer("pT2a", ("pT2", "pT2a")) == ("answered", "pT2a")
    assert read_answer("HER2 1+", ("1", "1+")) == ("answered", "1+")


def test_the_compatible_rule_counts_silence_as_right_and_the_strict_one_does_not() -> None:
    truth, options = ["adenoma"] * 3, [KINDS] * 3
    silence = ["", None, ""]
    assert vqa_compat(silence, truth, options, rule="wsi-vqa").value == 1
    assert vqa_strict(silence, truth, options).value == 0
    assert vqa_strict(silence, truth, options).missing == 3


@pytest.mark.parametrize(
    ("said", "right"), [('{"answer": 3}', True), ('{"answer": "3"}', True), ("3", False)]
)
def test_the_rule_of_option_numbers(said: str, right: bool) -> None:
    assert COMPAT["multipathqa"](said, "adenoma", KINDS) is right


def test_nobody_who_has_not_looked_gets_above_the_floor() -> None:
    rng = random.Random(9)
    truth = rng.choices(KINDS, weights=[6, 1, 2, 1], k=400)
    options = [tuple(rng.sample(KINDS, 4)) for _ in truth]
    commonest = truth.count("adenocarcinoma") / 400
    others = [rng.choice(truth) for _ in truth]
    blind = {
        "silence": [""] * 400,
        "error": ["Traceback (most recent call last): ValueError"] * 400,
        "every option": ["; ".join(KINDS)] * 400,
        "first letter": ["A"] * 400,
        "random": [rng.choice(KINDS) for _ in truth],
        "another's": others,
        "commonest": ["adenocarcinoma"] * 400,
    }
    found = {name: vqa_strict(said, truth, options).value for name, said in blind.items()}
    assert found.pop("commonest") == commonest
    assert found["silence"] == found["error"] == found["every option"] == 0
    assert all(value < commonest for value in found.values())


def test_lists_that_do_not_match_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        vqa_strict([], [], [])
