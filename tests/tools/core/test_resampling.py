"""Intervals know their patients, and nothing is called better that chance could have made."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pathagent_tools.core.scoring.resampling import Resampling, bootstrap


def test_repeats_of_one_patient_do_not_narrow_the_interval() -> None:
    values = [1.0, 0.0, 1.0, 0.0]
    few = bootstrap(values, ["p1", "p2", "p3", "p4"])
    many = bootstrap(values * 50, ["p1", "p2", "p3", "p4"] * 50)
    assert many.value == few.value == 0.5
    assert many.clusters == 4
    assert many.high - many.low == pytest.approx(few.high - few.low, abs=0.05)


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    values = [random.Random(1).random() for _ in range(40)]
    values = [v * i for i, v in enumerate(values)]
    one, same, other = (bootstrap(values, range(40), seed=s) for s in (3, 3, 4))
    assert one == same
    assert one.low != other.low
    assert Resampling(range(40), seed=3).method.endswith("seed 3")


def test_any_statistic_is_resampled_as_a_mean_is() -> None:
    values = np.asarray([random.Random(2).random() for _ in range(30)]) * np.arange(30)
    draws = Resampling([i // 2 for i in range(30)])
    mean, statistic = draws.mean(values.tolist()), draws.statistic(lambda i: float(values[i].mean()))
    assert statistic.value == pytest.approx(mean.value)
    assert (statistic.low, statistic.high) == pytest.approx((mean.low, mean.high))


def test_a_real_gain_is_found_and_none_is_not() -> None:
    rng = random.Random(0)
    base = [float(rng.random() < 0.5) for _ in range(200)]
    better = [max(b, float(rng.random() < 0.4)) for b in base]
    as_good = [float(rng.random() < 0.5) for _ in range(200)]
    draws = Resampling(range(200))
    assert draws.mean_gain(better, base).verdict == "better"
    assert draws.mean_gain(base, better).verdict == "worse"
    assert draws.mean_gain(as_good, base).verdict == "no difference shown"
    assert draws.mean_gain(base, base).p == 1


def test_chance_is_rarely_called_a_gain() -> None:
    """Of 200 pairs of equals about one in twenty may differ, no more than one in ten."""
    rng, called = random.Random(7), 0
    for i in range(200):
        ours, theirs = ([float(rng.random() < 0.6) for _ in range(60)] for _ in range(2))
        found = Resampling([j // 2 for j in range(60)], seed=i, rounds=300).mean_gain(ours, theirs)
        called += found.verdict in ("better", "worse")
    assert called <= 20


def test_below_thirty_patients_nothing_is_better_however_many_cases_they_have() -> None:
    ours, theirs = [1.0] * 290, [0.0] * 290
    few = Resampling([i // 10 for i in range(290)]).mean_gain(ours, theirs)
    assert few.clusters == 29
    assert few.verdict == "too few patients to tell"
    assert Resampling([i // 10 for i in range(300)]).mean_gain([1.0] * 300, [0.0] * 300).verdict == "better"


def test_no_case_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([], [])
