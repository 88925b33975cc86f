"""Training tiles: repeatable, honest about the held-out scanners, graded by what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT, SCANNERS_TRAIN
from pathagent_tools.phantom.tile import TileSample, sample_tile


@pytest.fixture(scope="module")
def tiles() -> list[TileSample]:
    return [sample_tile(s) for s in range(90)]


def test_same_seed_same_tile(tiles: list[TileSample]) -> None:
    again = sample_tile(7)
    assert np.array_equal(again.image, tiles[7].image)
    assert again.findings == tiles[7].findings
    assert again.image.shape == (192, 192, 3) and again.label_map.shape == (192, 192)


def test_training_never_uses_a_held_out_scanner(tiles: list[TileSample]) -> None:
    train = {s.name for s in SCANNERS_TRAIN}
    assert {t.scanner for t in tiles} == train
    test = {sample_tile(s, split="test", px=96).scanner for s in range(12)}
    assert test & {s.name for s in SCANNERS_HELD_OUT}


def test_splits_show_different_worlds() -> None:
    assert not np.array_equal(sample_tile(3).image, sample_tile(3, split="test").image)


def test_every_slot_varies(tiles: list[TileSample]) -> None:
    seen = {slot: {getattr(t.findings, slot) for t in tiles} for slot in type(tiles[0].findings).model_fields}
    assert len(seen["tissue"]) >= 8 and len(seen["architecture"]) >= 7
    assert seen["nuclear_grade"] == {"none", "low", "intermediate", "high"}
    assert seen["inflammation"] == {"none", "mild", "marked"}
    assert seen["stain"] == {"pale", "balanced", "dark"}
    assert len(seen["artifact"]) >= 5 and len(seen["necrosis"]) == 2 and len(seen["mitoses"]) == 3


def test_grades_are_drawn_as_nuclear_size(tiles: list[TileSample]) -> None:
    tumour = [
        t
        for t in tiles
        if t.findings.tissue == "invasive tumour" and t.class_fractions["benign epithelium"] < 0.02
    ]
    mean = {
        grade: np.mean([t.epithelial_area_um2 for t in tumour if t.findings.nuclear_grade == grade])
        for grade in ("low", "intermediate", "high")
    }
    assert mean["low"] < 42 < mean["intermediate"] < 72 < mean["high"]


def test_stain_words_follow_the_pixels(tiles: list[TileSample]) -> None:
    muscle = [t for t in tiles if t.class_fractions["background"] < 0.1 and t.findings.artifact == "none"]
    mean = {
        w: np.mean([t.image.mean() for t in muscle if t.findings.stain == w])
        for w in ("pale", "balanced", "dark")
    }
    assert mean["pale"] > mean["balanced"] > mean["dark"]


def test_fractions_sum_to_one(tiles: list[TileSample]) -> None:
    assert all(abs(sum(t.class_fractions.values()) - 1) < 1e-9 for t in tiles)


def test_odd_scale_is_refused() -> None:
    with pytest.raises(UserError, match=r"multiple of 0\.5"):
        sample_tile(1, field_um=200, px=192)
