"""A slide head: pooling, calibration of its words, and what it refuses to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.slide_head import SETTINGS, WEIGHTS, HeadSettings, SlideHead

DIM = 3


def head(pooling: str = "mean", temperature: float = 1.0) -> SlideHead:
    settings = HeadSettings(
        classes=("a", "b"), pooling=pooling, encoder="e", encoder_revision="1", dim=DIM,
        temperature=temperature,
    )  # fmt: skip
    arrays = {
        "centre": np.zeros(DIM, np.float32),
        "scale": np.ones(DIM, np.float32),
        "weight": np.array([[4, 0, 0], [0, 4, 0]], np.float32),
        "bias": np.zeros(2, np.float32),
    }
    if pooling == "attention":
        eye = np.eye(DIM, dtype=np.float32)
        arrays |= {"tanh": eye * 8, "gate": eye * 8, "attention": np.array([0, 9, 0], np.float32)}
    return SlideHead(settings, arrays)


BAG = np.array([[2, 0, 0], [5, 0, 0], [0, 3, 0]], np.float32)
"""Two tiles of `a` and one of `b`, of different lengths."""


def test_mean_pooling_goes_with_most_tiles_and_attention_with_the_one_that_counts() -> None:
    assert next(iter(head().probabilities(BAG))) == "a"
    assert next(iter(head("attention").probabilities(BAG))) == "b"
    assert head("attention").weights(BAG).argmax() == 2
    assert head().weights(BAG) == pytest.approx([1 / 3] * 3)


def test_a_temperature_softens_and_changes_no_order() -> None:
    sharp, soft = head().probabilities(BAG), head(temperature=3).probabilities(BAG)
    assert list(sharp) == list(soft)
    assert 0.5 < soft["a"] < sharp["a"] < 1
    assert sum(soft.values()) == pytest.approx(1)


def test_a_head_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    head("attention").save(tmp_path)
    again = SlideHead.load(tmp_path, encoder="e", revision="1")
    assert again.probabilities(BAG) == head("attention").probabilities(BAG)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="finetune slide-head"):
        SlideHead.load(tmp_path)
    head().save(tmp_path)
    with pytest.raises(UserError, match="encoder e, not of other"):
        SlideHead.load(tmp_path, encoder="other")
    with pytest.raises(UserError, match="revision 1, not of 2"):
        SlideHead.load(tmp_path, encoder="e", revision="2")
    with pytest.raises(UserError, match="no tile"):
        head().probabilities(np.empty((0, DIM), np.float32))
    with pytest.raises(UserError, match=r"\[2, 7\]"):
        head().probabilities(np.ones((2, 7), np.float32))
    assert head().probabilities(BAG[:1])["a"] > 0.9
    (tmp_path / WEIGHTS).write_bytes(b"half")
    with pytest.raises(UserError, match="missing or damaged"):
        SlideHead.load(tmp_path)
    (tmp_path / SETTINGS).write_text('{"classes": ["one"]}')
    with pytest.raises(UserError, match="cannot be read"):
        SlideHead.load(tmp_path)


def test_a_standardised_tile_is_a_unit_vector_first() -> None:
    assert replace(head(), arrays=head().arrays).logits(BAG * 100) == pytest.approx(head().logits(BAG))
