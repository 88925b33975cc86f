"""N-gram scores are those of the reference packages, whatever the text; silence scores nothing."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from recompute_scores import PAIRS, VALUES

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring import ngrams
from pathagent_tools.core.scoring.texts import tokenised

SAID = [said for said, _ in PAIRS.values()]
WANTED = [wanted for _, wanted in PAIRS.values()]
REFERENCE: dict[str, Any] = json.loads(VALUES.read_text())
JAVA = ("meteor",)
METRICS = [pytest.param(m, marks=[pytest.mark.slow] if m in JAVA else []) for m in ngrams.METRICS]


@pytest.mark.parametrize("metric", METRICS)
def test_every_score_is_its_reference_implementations(metric: str) -> None:
    for score in ngrams.METRICS[metric](SAID, WANTED):
        assert score.value == pytest.approx(REFERENCE[score.name]["value"], abs=1e-6), score.name
        assert score.items == pytest.approx(REFERENCE[score.name]["items"], abs=1e-6), score.name
        assert score.signature
        assert score.missing == 2


@pytest.mark.parametrize("metric", [m for m in ngrams.METRICS if m not in JAVA])
def test_silence_scores_nothing_and_stays_in_the_denominator(metric: str) -> None:
    report, other = PAIRS["identical"][1], PAIRS["700 words"][1]
    for some, none in zip(
        ngrams.METRICS[metric]([report, None], [report, other]),
        ngrams.METRICS[metric]([None, "\u2028 \r"], [report, other]),
        strict=True,
    ):
        assert some.missing == 1
        assert some.items[1] == 0
        assert 0 < some.value < some.items[0]
        assert none.missing == 2
        assert none.value == pytest.approx(0, abs=1e-9)


def test_the_order_of_pairs_and_their_neighbours_change_no_item() -> None:
    turned = ngrams.bleu(SAID[::-1], WANTED[::-1], n=2)
    assert turned.items[::-1] == ngrams.bleu(SAID, WANTED, n=2).items


@pytest.mark.parametrize(("said", "wanted"), [([], []), (["a"], []), (["a"], [" \r "])])
def test_what_cannot_be_scored_is_an_error(said: list[str], wanted: list[str]) -> None:
    with pytest.raises(ValueError, match=r"at least one|is empty"):
        ngrams.rouge_l(said, wanted)


def test_cider_of_one_pair_is_refused_as_every_word_would_weigh_nothing() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        ngrams.cider(["a"], ["a"])


def test_the_two_meteors_never_pass_for_each_other() -> None:
    score = ngrams.meteor_nltk(SAID, WANTED)
    assert score.name == "meteor_nltk"
    assert "no WordNet" in score.signature
    flipped = list(PAIRS).index("side flipped")
    assert score.items[flipped] > REFERENCE["meteor"]["items"][flipped] + 0.3


def test_words_keep_scores_and_receptors_whole() -> None:
    assert tokenised(["Gleason 3+4 = 7; ER-positive, 0.5 cm, 30%."], "words-1") == [
        "gleason 3+4 7 er-positive 0.5 cm 30%"
    ]
    assert tokenised(["Gleason 3+4\r= 7;"], "as-is") == ["Gleason 3+4 = 7;"]


def test_without_its_package_a_score_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap.rouge.rouge", None)
    with pytest.raises(UserError, match=r"pathagent\[eval\]"):
        ngrams.rouge_l(["a"], ["a"])
