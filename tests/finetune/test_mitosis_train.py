"""Training of the mitosis detector: targets follow the figures, matches are one to one, a run resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from pathagent_finetune import tilestore
from pathagent_finetune.cell_train import train_cells
from pathagent_finetune.mitosis_train import Mitoses, detection, focal_loss, heat_of
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.measure.mitoses import MitosisDetector


def recipe(folder: Path, **more: object) -> Path:
    few = {"count": 12, "first_seed": 9_000_000}
    made = {
        "id": "tiny", "version": "0", "seed": 1, "field_px": 192, "window_px": 64,
        "tiles": {"train": few, "validation": few, "test": few},
        "shape": {"channels": 8, "dilations": [1], "mpp": 0.5}, "batch": 2,
        "budget": {"steps": 3, "lr": 1e-3, "seed": 1},
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(made | more))
    return path


def test_the_target_is_one_in_the_cell_of_each_figure_and_less_around_it() -> None:
    heat = heat_of(np.array([[10.0, 22.0]], np.float32), 64)
    assert heat.shape == (16, 16)
    assert heat[5, 2] == 1.0 == heat.max()
    assert 0 < heat[5, 3] < 1 and heat[12, 12] < 1e-3
    assert heat_of(np.zeros((0, 2), np.float32), 64).max() == 0


def test_the_loss_is_least_where_the_logits_are_the_target() -> None:
    import torch

    heat = torch.from_numpy(heat_of(np.array([[10.0, 22.0]], np.float32), 64))[None]
    right = torch.where(heat >= 1, 6.0, -6.0)
    assert focal_loss(right, heat) < focal_loss(torch.zeros_like(heat), heat) < focal_loss(-right, heat)


def test_two_peaks_at_one_figure_are_one_find_and_one_false_alarm() -> None:
    found = [np.array([[10, 10, 0.9], [12, 10, 0.8]], np.float32)]
    scored = detection(found, [np.array([[11, 10]], np.float32)], 0.5)
    assert (scored["precision"], scored["recall"], scored["figures"]) == (0.5, 1.0, 1)
    assert detection(found, [np.array([[60, 60]], np.float32)], 0.5)["f1"] == 0.0


def test_a_training_ends_in_a_folder_that_opens_and_says_what_it_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tilestore, "SHARD", 12)
    monkeypatch.setattr(tilestore, "in_processes", lambda jobs: [job() for job in jobs])
    folder = train_cells(Mitoses, recipe(tmp_path), tmp_path / "out")
    detector, card = MitosisDetector.load(folder), ModelCard.load(folder)
    assert (card.kind, card.id, detector.config.channels) == ("detector", "tiny", 8)
    assert card.scores["all"]["fields"] == 12 and "held_out_scanners" in card.scores
    with pytest.raises(UserError, match="another recipe"):
        train_cells(Mitoses, recipe(tmp_path, seed=2), tmp_path / "out")


def test_a_recipe_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("id: x\n")
    with pytest.raises(UserError, match="cannot be used"):
        train_cells(Mitoses, tmp_path / "bad.yaml", tmp_path / "out")
