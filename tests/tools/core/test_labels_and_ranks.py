"""Scores of labels, ranks, masks and probabilities are those of scikit-learn, and silence earns nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sklearn import metrics

from pathagent_tools.core.scoring import calibration, classes, masks, retrieval

RNG = random.Random(4)
GRADES = ("benign", "1", "2", "3", "4", "5")
TRUTH = RNG.choices(GRADES, weights=[5, 1, 1, 1, 1, 2], k=120)
SAID: list[str | None] = [t if RNG.random() < 0.6 else RNG.choice(GRADES) for t in TRUTH]


def test_labels_agree_with_scikit_learn() -> None:
    assert classes.accuracy(TRUTH, SAID).value == pytest.approx(metrics.accuracy_score(TRUTH, SAID), abs=1e-6)
    assert classes.balanced_accuracy(TRUTH, SAID).value == pytest.approx(
        metrics.balanced_accuracy_score(TRUTH, SAID), abs=1e-6
    )
    kappa = classes.quadratic_kappa(TRUTH, SAID, GRADES)
    assert kappa.value == pytest.approx(
        metrics.cohen_kappa_score(
            [GRADES.index(t) for t in TRUTH], [GRADES.index(str(s)) for s in SAID], weights="quadratic"
        ),
        abs=1e-6,
    )
    assert kappa.signature.startswith("scikit-learn")


def test_the_majority_answer_earns_one_class_only() -> None:
    truth = ["a"] * 9 + ["b"]
    assert classes.balanced_accuracy(truth, ["a"] * 10).value == 0.5
    assert classes.balanced_accuracy(truth, [None] * 10).value == 0
    assert classes.balanced_accuracy(truth, [None] * 10).missing == 10
    assert classes.quadratic_kappa(TRUTH, ["benign"] * 120, GRADES).value == pytest.approx(0)


def test_what_is_no_grade_is_as_wrong_as_can_be() -> None:
    truth = ["1", "5", "1", "5"]
    right = classes.quadratic_kappa(truth, truth, GRADES).value
    near = classes.quadratic_kappa(truth, ["2", "4", "2", "4"], GRADES).value
    unread = classes.quadratic_kappa(truth, [None, "grade five", "", "x"], GRADES)
    assert right == 1
    assert unread.value < 0 < near
    assert unread.missing == 4


def test_auroc_agrees_with_scikit_learn_and_a_missing_score_ranks_wrong() -> None:
    truth = [t == "benign" for t in TRUTH]
    score = [round(RNG.random() + 0.4 * t, 1) for t in truth]
    assert classes.auroc(truth, score).value == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-6)
    assert classes.auroc([True, False], [None, None]).value == 0
    assert classes.auroc([True, False, True], [0.9, 0.1, None]).value == 0.5


def test_ranks() -> None:
    ranked = [["a", "b", "c"], ["b", "a", "c"], [], ["c", "b"]]
    relevant = [{"a"}, {"a"}, {"a"}, {"a"}]
    assert retrieval.recall_at(1, ranked, relevant).value == 0.25
    assert retrieval.recall_at(2, ranked, relevant).items == (1, 1, 0, 0)
    assert retrieval.mrr(ranked, relevant).value == pytest.approx((1 + 0.5) / 4)
    assert retrieval.mrr(ranked, relevant).missing == 1
    scores = np.asarray([[3, 2, 1], [2, 3, 1], [1, 2, 3]], float)
    hits = np.asarray([[1, 0, 0]] * 3)
    by_score = [["abc"[i] for i in np.argsort(-row)] for row in scores]
    assert retrieval.mrr(by_score, [{"a"}] * 3).value == pytest.approx(
        metrics.label_ranking_average_precision_score(hits, scores), abs=1e-6
    )


def test_masks_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.random((9, 7)) < 0.4 for _ in range(5)]
    said = [rng.random((9, 7)) < 0.5 for _ in range(5)]
    ours = masks.iou(said, truth), masks.dice(said, truth)
    theirs = (
        [metrics.jaccard_score(t.ravel(), s.ravel()) for s, t in zip(said, truth, strict=True)],
        [metrics.f1_score(t.ravel(), s.ravel()) for s, t in zip(said, truth, strict=True)],
    )
    for score, reference in zip(ours, theirs, strict=True):
        assert score.items == pytest.approx(reference, abs=1e-6)
    nothing = np.zeros((2, 2))
    assert masks.dice([nothing, None], [nothing, nothing]).items == (1, 0)
    with pytest.raises(ValueError, match="do not compare"):
        masks.dice([np.zeros((2, 3))], [nothing])


def test_brier_agrees_with_scikit_learn() -> None:
    right = [RNG.random() < 0.7 for _ in range(50)]
    stated = [RNG.random() for _ in right]
    assert calibration.brier(stated, right).value == pytest.approx(
        metrics.brier_score_loss(right, stated), abs=1e-6
    )


def by_hand(confidence: list[float], right: list[bool]) -> float:
    """AURC of answers of which no two are as sure."""
    order = sorted(range(len(right)), key=lambda i: -confidence[i])
    risks = [sum(not right[i] for i in order[:k]) / k for k in range(1, len(order) + 1)]
    return sum(risks) / len(risks)


def test_risk_and_coverage() -> None:
    right = [RNG.random() < 0.7 for _ in range(40)]
    sure = [i / 40 for i in range(40)]
    assert calibration.aurc(sure, right).value == pytest.approx(by_hand(sure, right), abs=1e-9)
    assert calibration.aurc([0.5] * 40, right).value == pytest.approx(
        np.mean([by_hand(RNG.sample(sure, 40), right) for _ in range(4000)]), abs=0.01
    )
    knowing, misled = ([float(r == kind) for r in right] for kind in (True, False))
    assert calibration.aurc(knowing, right).value < calibration.aurc(misled, right).value


def test_silence_and_abstention_are_never_rewarded() -> None:
    right = [True, True, False, False]
    silent: list[float | None] = [None] * 4
    assert calibration.aurc(silent, right).value == 1
    assert calibration.coverage(silent).value == 0
    answered: list[float | None] = [0.9, 0.8, 0.3, 0.2]
    for i in range(4):
        fewer = [c if j != i else None for j, c in enumerate(answered)]
        assert calibration.aurc(fewer, right).value >= calibration.aurc(answered, right).value
    assert calibration.risk_coverage([0.9, None, 0.9, 0.1], right)[-1] == (0.75, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    "score",
    [
        lambda: classes.accuracy([], []),
        lambda: classes.balanced_accuracy(["a"], []),
        lambda: classes.auroc([True], [1.0]),
        lambda: classes.quadratic_kappa(["1", "1"], ["1", "1"], GRADES),
        lambda: retrieval.mrr([["a"]], [set()]),
        lambda: masks.dice([], []),
        lambda: calibration.coverage([]),
    ],
)
def test_what_cannot_be_scored_is_an_error(score: object) -> None:
    with pytest.raises(ValueError, match=r"at least one|both classes|two of the grades|no right answer"):
        score()  # type: ignore[operator]


def test_own_matches_and_those_that_are_as_right() -> None:
    likeness = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.7], [0.1, 0.2, 0.3]], np.float32)
    same = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 1]], bool)
    found = retrieval.matched(likeness, same, (1, 2))
    assert {k: v.items for k, v in found.items()} == {
        "R@1": (1, 0, 1), "R@2": (1, 0, 1), "alike R@1": (1, 0, 1), "alike R@2": (1, 1, 1),
    }  # fmt: skip
