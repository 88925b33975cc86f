"""The mitosis detector: what it finds on phantom fields, what it refuses, and that a folder is a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.measure.cell_model import CONFIG, WEIGHTS
from pathagent_tools.measure.mitoses import MitosisDetector, amount, peaks
from pathagent_tools.phantom.tile import TileSample, sample_tile

UNSEEN = 9_700_000


def fields(n: int, *, with_figures: bool) -> list[TileSample]:
    """The first `n` unseen clean cellular fields at 0.5 µm per px that hold figures, or that hold none."""
    found: list[TileSample] = []
    seed = UNSEEN
    while len(found) < n:
        sample = sample_tile(seed, field_um=192.0, px=384, split="test")
        seed += 1
        clean = sample.findings.artifact == "none" and sample.nuclei > 60
        if clean and bool(sample.mitoses) == with_figures:
            found.append(sample)
    return found


def test_figures_are_found_where_they_are() -> None:
    detector = MitosisDetector.load()
    true = hit = 0
    for sample in fields(12, with_figures=True):
        found = detector.find(sample.image, 0.5)[:, :2] * 0.5
        true += sample.mitoses
        hit += sum(bool((np.linalg.norm(found - f, axis=1) < 6).any()) for f in sample.figures_um)
    assert hit / true > 0.7


def test_cellular_fields_without_figures_are_hardly_ever_counted() -> None:
    detector = MitosisDetector.load()
    counts = [len(detector.find(s.image, 0.5)) for s in fields(20, with_figures=False)]
    assert sum(c > 0 for c in counts) <= 2


def test_a_field_of_another_resolution_or_of_a_few_pixels_is_refused() -> None:
    detector = MitosisDetector.load()
    with pytest.raises(UserError, match=r"reads 0.5 µm per px and was given 1: read the field at mpp=0.5"):
        detector.find(np.zeros((64, 64, 3), np.uint8), 1.0)
    with pytest.raises(UserError, match="at least 32 px"):
        detector.find(np.zeros((16, 64, 3), np.uint8), 0.5)


def test_a_field_whose_sides_are_no_multiples_of_the_stride_is_read_whole() -> None:
    assert MitosisDetector.load().scores(np.full((1, 70, 90, 3), 240, np.uint8)).shape == (1, 18, 23)


def test_a_folder_without_weights_or_with_others_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pathagent finetune mitoses"):
        MitosisDetector.load(tmp_path)
    shutil.copytree(MitosisDetector.embedded, tmp_path / "own")
    (tmp_path / "own" / CONFIG).write_text('{"channels": 16}')
    with pytest.raises(UserError, match="is no mitosis detector that can be loaded"):
        MitosisDetector.load(tmp_path / "own")
    (tmp_path / "own" / WEIGHTS).write_bytes(b"cut off")
    with pytest.raises(UserError, match="is no mitosis detector that can be loaded"):
        MitosisDetector.load(tmp_path / "own")


def test_a_shared_detector_is_loaded_again_only_where_its_card_has_changed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pathagent finetune mitoses"):
        MitosisDetector.shared(tmp_path)
    own = shutil.copytree(MitosisDetector.embedded, tmp_path / "own")
    first = MitosisDetector.shared(own)
    assert MitosisDetector.shared(own) is first
    card = ModelCard.load(own)
    card.model_copy(update={"id": "other"}).save(own)
    assert MitosisDetector.shared(own).id == "other"


def test_neighbouring_cells_of_one_figure_count_once() -> None:
    scores = np.zeros((20, 20), np.float32)
    scores[5, 5], scores[5, 6], scores[12, 3] = 0.9, 0.8, 0.7
    found = peaks(scores, 0.5)
    assert found[:, :2].tolist() == [[22.0, 22.0], [14.0, 50.0]]


@pytest.mark.parametrize(
    ("count", "side_um", "word"),
    [(0, 192, "none"), (2, 192, "few"), (3, 192, "many"), (3, 384, "few"), (10, 384, "many")],
)
def test_the_word_is_of_a_density_not_of_a_count(count: int, side_um: float, word: str) -> None:
    assert amount(count, (side_um / 1000) ** 2) == word
