"""Expected calibration error: known values, and independence of the order."""

import pytest

from pathagent_tools.core.scoring.calibration import expected_calibration_error


def test_kept_promises_cost_nothing_and_broken_ones_their_gap() -> None:
    assert expected_calibration_error([0.5] * 4, [True, False, True, False]).value == 0
    assert expected_calibration_error([0.9] * 10, [True] * 5 + [False] * 5).value == pytest.approx(0.4)
    halves = expected_calibration_error(
        [0.2] * 5 + [1.0] * 5, [True] + [False] * 4 + [True] * 5, bins=2
    ).value
    assert halves == pytest.approx(0)


def test_the_order_of_items_does_not_matter() -> None:
    stated, right = [0.6, 0.6, 0.6, 0.9, 0.9, 0.3], [True, False, True, True, False, False]
    turned = expected_calibration_error(stated[::-1], right[::-1], bins=3).value
    assert expected_calibration_error(stated, right, bins=3).value == pytest.approx(turned)


def test_nothing_has_no_calibration() -> None:
    with pytest.raises(ValueError, match="at least one"):
        expected_calibration_error([], [])
