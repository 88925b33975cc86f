"""Training of the lymphocyte counter: what it learns from, how it is judged, what comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pathagent_finetune import tilestore
from pathagent_finetune.cell_train import train_cells
from pathagent_finetune.lymphocyte_train import Lymphocytes, counts_of, judged
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.measure.lymphocytes import LymphocyteCounter


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tilestore.TileStore:
    monkeypatch.setattr(tilestore, "SHARD", 12)
    folder = tmp_path / "tiles"
    tilestore._render_shard(0, folder=folder, first_seed=4_000_000, px=192, mpp=0.5, split="train", margin=0)
    return tilestore.open_store(folder)


def test_each_lymphocyte_counts_in_its_place_once() -> None:
    counts = counts_of(np.array([[10.0, 22.0], [11.0, 23.0], [63.9, 0.0]], np.float32), 64)
    assert counts.shape == (16, 16) and counts.sum() == 3
    assert (counts[5, 2], counts[0, 15]) == (2, 1)
    assert counts_of(np.zeros((0, 2), np.float32), 64).sum() == 0


def test_the_loss_is_least_at_the_rate_that_was_counted() -> None:
    wanted = torch.full((1, 4, 4), 0.25)
    learn = Lymphocytes.learn
    right, low, high = (learn(None, torch.full((1, 4, 4), rate).log(), wanted) for rate in (0.25, 0.1, 0.6))  # type: ignore[arg-type]
    assert right < low and right < high


def test_true_counts_are_judged_right_and_none_at_all_at_chance(store: tilestore.TileStore) -> None:
    true = np.array([len(store.points(i, "lymphocytes")) for i in range(12)], float)
    assert true.sum() > 0
    found = judged(true, store, range(12), 0.5)
    assert (found["word_balanced_accuracy"], found["r2"], found["error_below_marked"]) == (1, 1, 0)
    nothing = judged(np.zeros(12), store, range(12), 0.5)
    assert nothing["word_balanced_accuracy"] < 0.6 and nothing["r2"] < 0 > nothing["bias_below_marked"]


def test_tiles_that_were_rendered_before_lymphocytes_were_kept_are_named(store: tilestore.TileStore) -> None:
    (store.folder / "shard-0000" / "lymphocytes.npy").unlink()
    with pytest.raises(UserError, match="rendered without lymphocytes: delete it to render it again"):
        store.points(0, "lymphocytes")


def test_a_training_ends_in_a_folder_that_opens_and_says_what_it_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tilestore, "SHARD", 12)
    monkeypatch.setattr(tilestore, "in_processes", lambda jobs: [job() for job in jobs])
    few = {"count": 12, "first_seed": 4_000_000}
    recipe = {
        "id": "tiny", "version": "0", "field_px": 192, "window_px": 64,
        "tiles": {"train": few, "validation": few, "test": few},
        "shape": {"channels": 8, "dilations": [1], "mpp": 0.5}, "batch": 2,
        "budget": {"steps": 3, "lr": 1e-3, "seed": 1},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    folder = train_cells(Lymphocytes, tmp_path / "recipe.yaml", tmp_path / "out")
    counter, card = LymphocyteCounter.load(folder), ModelCard.load(folder)
    assert (card.id, counter.config.channels) == ("tiny", 8)
    assert card.scores["all"]["fields"] == 12 and "held_out_scanners" in card.scores
    assert card.reproduce == "pathagent finetune lymphocytes --recipe lymphocytes --out DIR"
