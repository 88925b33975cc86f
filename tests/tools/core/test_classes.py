"""Balanced accuracy cannot be gained by naming the common class; intervals know their clusters."""

import pytest

from pathagent_tools.core.scoring.classes import balanced_accuracy, bootstrap


def test_the_majority_answer_earns_one_class_only() -> None:
    truth = ["a"] * 9 + ["b"]
    assert balanced_accuracy(truth, ["a"] * 10) == 0.5
    assert balanced_accuracy(truth, [None] * 10) == 0


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        balanced_accuracy([], [])


def test_repeats_of_one_patient_do_not_narrow_the_interval() -> None:
    values = [1.0, 0.0, 1.0, 0.0]
    few = bootstrap(values, ["p1", "p2", "p3", "p4"])
    many = bootstrap(values * 50, ["p1", "p2", "p3", "p4"] * 50)
    assert many.value == few.value == 0.5
    assert many.clusters == 4
    assert many.high - many.low == pytest.approx(few.high - few.low, abs=0.05)
