"""The recipe of the VLM from tiles to a model folder, at tiny size, stopped and taken up again."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import yaml

from pathagent_finetune import vlm_train
from pathagent_finetune.corpus import simulate
from pathagent_finetune.tilestore import TileStore, open_store
from pathagent_finetune.vlm_recipe import VLMRecipe, load_recipe
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm import roles
from pathagent_tools.vlm.inprocess import TransformersVLM

PX = 64
TINY = {
    "size": {
        "tile_px": PX, "vision_depth": 2, "vision_hidden": 32, "vision_heads": 1, "vision_mlp": 64,
        "deepstack": [0], "hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 32, "mlp": 96,
        "vocab": 1400,
    },
    "vision": {"steps": 3}, "vision_batch": 4, "language": {"steps": 3}, "language_texts": 3,
    "joint": [
        {"budget": {"steps": 2}, "tiles": 3, "texts": 2, "mix": {"write": 0.5, "verify": 0.5}},
        {"budget": {"steps": 2}, "tiles": 2, "texts": 3, "mix": {"answer": 1.0}},
    ],
    "tokenizer_texts": 60, "evaluate_tiles": 6, "bf16": False, "threads": 1,
}  # fmt: skip


def write_store(folder: Path, n: int, seed: int) -> TileStore:
    """Tiles whose brightness tells their stain: the files of a tile store, drawn without a renderer."""
    rng, shard = np.random.default_rng(seed), folder / "shard-0000"
    shard.mkdir(parents=True)
    rows, pictures = [], np.empty((n, PX, PX, 3), np.uint8)
    for i in range(n):
        found = simulate.random_findings(Random(f"{seed}-{i}")).model_dump()
        pictures[i] = 60 * (1 + SLOTS["stain"].index(found["stain"])) + rng.integers(0, 20, (PX, PX, 3))
        numbers = {"nuclei": 3, "area_um2": 30.0, "pleomorphism": 0.2, "mitoses": 0}
        rows.append(json.dumps({"seed": i, "findings": found, "scanner": "cedar"} | numbers))
    np.save(shard / "images.npy", pictures)
    np.save(shard / "labels.npy", rng.integers(0, 14, (n, PX, PX), dtype=np.uint8))
    (shard / "truth.jsonl").write_text("\n".join(rows) + "\n")
    return open_store(folder)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stores = {
        name: write_store(tmp_path / name, 12, i) for i, name in enumerate(("train", "validation", "test"))
    }
    monkeypatch.setattr(vlm_train, "render_tiles", lambda sets, folder, **_: stores)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(load_recipe("vlm").model_dump(mode="json") | TINY))
    return path


def test_stopped_and_resumed_training_ends_in_a_model_with_a_card(recipe: Path, tmp_path: Path) -> None:
    whole = vlm_train.train(recipe, tmp_path / "whole")
    for _ in range(12):  # each call stops after one step
        part = vlm_train.train(recipe, tmp_path / "part", minutes=1e-9)
    card = ModelCard.load(whole)
    assert {"model", "blank_image", "majority", "gain"} <= card.scores.keys()
    assert card.trained_on["phantom_version"] >= 1
    assert set(card.files) >= {
        "model.safetensors",
        "tokenizer.json",
        "config.json",
        "preprocessor_config.json",
    }
    assert ModelCard.load(part).files["model.safetensors"] == card.files["model.safetensors"]
    vlm = TransformersVLM(whole, tile_px=PX)
    (done,) = vlm.generate([roles.describe(np.zeros((PX, PX, 3), np.uint8), field_um=PX)])
    assert done.data.keys() == {*SLOTS, "sentence"}
    assert done.revision == card.digest


def test_a_folder_of_another_recipe_is_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/recipe.json").write_text('{"digest": "other"}')
    with pytest.raises(UserError, match="another recipe"):
        vlm_train.train(recipe, tmp_path / "out")


def test_the_shipped_recipe_is_valid_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    plan = load_recipe("vlm")
    assert isinstance(plan, VLMRecipe)
    assert plan.size.image_tokens == 36
    with pytest.raises(UserError, match="vlm"):
        load_recipe("vln")
    (tmp_path / "bad.yaml").write_text("id: x\nspeed: 9\n")
    with pytest.raises(UserError, match="cannot be used"):
        load_recipe(tmp_path / "bad.yaml")
