"""Training the encoder: the loss pulls the right pairs, and a stopped run goes on exactly."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from pathagent_finetune import encoder_train, tilestore
from pathagent_finetune.encoder_loss import contrastive_loss, draw_turns, orient, restain
from pathagent_finetune.encoder_recipe import EncoderRecipe, load_recipe
from pathagent_finetune.loop import claim
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.encoders.registry import load_encoder


def test_tiles_with_the_same_findings_do_not_push_each_other_apart() -> None:
    images = torch.eye(4)
    twins = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    scale, unknown = torch.tensor(20.0), torch.zeros(4, 4, dtype=torch.bool)
    alike = torch.eye(4, dtype=torch.bool)
    alike[0, 1] = alike[1, 0] = True
    merged = twins.clone().requires_grad_()
    contrastive_loss(twins, merged, scale, alike, unknown).backward()
    assert merged.grad is not None and merged.grad[0].norm() < 1e-4
    assert contrastive_loss(images, images, scale, torch.eye(4, dtype=torch.bool), unknown) < 1e-3
    assert contrastive_loss(images, images.flip(0), scale, torch.eye(4, dtype=torch.bool), unknown) > 5


def test_a_tile_and_its_label_map_turn_together() -> None:
    marks = torch.arange(5 * 4 * 4).reshape(5, 4, 4, 1)
    turns = draw_turns(5, torch.Generator().manual_seed(1))
    coarse = orient(marks[:, ::2, ::2], *turns)
    fine = orient(marks.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, ::4, ::4], *turns)
    assert torch.equal(coarse, fine)
    assert len({tuple(t.flatten().tolist()) for t in coarse - marks[:, :1, :1]}) > 2


def test_restaining_keeps_shape_and_range_and_repeats_with_its_generator() -> None:
    tiles = torch.randint(0, 256, (6, 16, 16, 3), dtype=torch.uint8)
    one, two = (restain(tiles, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == (6, 3, 16, 16) and one.min() >= 0 and one.max() <= 255
    assert torch.equal(one, two)
    assert not torch.equal(one, restain(tiles, torch.Generator().manual_seed(4)))


@pytest.fixture(scope="module")
def plan() -> EncoderRecipe:
    shape = {
        "vision": "mobilenetv4_conv_small_035", "dim": 32, "text_width": 32, "text_layers": 1,
        "text_heads": 2, "vocabulary": 300,
    }  # fmt: skip
    sets = {n: {"count": 16, "first_seed": 0} for n in ("train", "validation", "test")}
    return EncoderRecipe(
        id="tiny", version="1", seed=3, tile_px=32, mpp=4.0, tiles=sets, shape=shape, batch=8,
        budget={"steps": 4, "lr": 1e-3},
        helper_weights={"slots": 1.0, "numbers": 1.0, "cells": 1.0},
        threads=1,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture(scope="module")
def store() -> tilestore.TileStore:
    """Sixteen stub tiles, half of them fat."""
    rng = Random(0)
    truth: list[dict[str, Any]] = []
    for i in range(16):
        findings = {slot: rng.choice(values) for slot, values in SLOTS.items()}
        tissue = "adipose" if i % 2 else "stroma"
        findings |= {"tissue": tissue, "architecture": "none"}
        truth.append({"findings": findings, "fractions": {tissue: 1.0}, "scanner": "alder", "seed": i})
    images = np.random.default_rng(0).integers(0, 255, (16, 32, 32, 3), dtype=np.uint8)
    return tilestore.TileStore(Path("none"), [images], [images[..., 0] % 14], truth)


def run(plan: EncoderRecipe, out: Path, store: tilestore.TileStore, stop_at: int | None = None) -> Any:
    """Train in `out`; stop_at: as a kill would, right after that step's state was saved."""
    claim(out, plan.model_dump(mode="json"))
    training = encoder_train.TrainingRun(plan, out, store, store)
    step_loss = training.stage.loss

    def stopping(step: int) -> Any:
        clock.passed = stop_at is not None and step + 1 >= stop_at
        return step_loss(step)

    clock = Clock()
    training.stage.loss = stopping
    assert training.go(clock if stop_at is not None else None) is (stop_at is None)  # type: ignore[arg-type]
    return training


class Clock:
    """A deadline that is passed when the test says so."""

    passed = False

    def __lt__(self, _now: float) -> bool:
        return self.passed


def test_a_killed_run_resumes_to_the_same_weights(
    plan: EncoderRecipe, store: tilestore.TileStore, tmp_path: Path
) -> None:
    whole = run(plan, tmp_path / "whole", store)
    run(plan, tmp_path / "parts", store, stop_at=3)
    resumed = run(plan, tmp_path / "parts", store)
    assert whole.stage.step == resumed.stage.step == 4
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_checkpoint_of_another_recipe_is_refused(
    plan: EncoderRecipe, store: tilestore.TileStore, tmp_path: Path
) -> None:
    run(plan, tmp_path, store, stop_at=1)
    changed = plan.model_copy(update={"mpp": 0.5})
    with pytest.raises(UserError, match="another recipe"):
        run(changed, tmp_path, store)


def test_the_exported_folder_opens_as_an_encoder(
    plan: EncoderRecipe, store: tilestore.TileStore, tmp_path: Path
) -> None:
    training = run(plan, tmp_path, store, stop_at=1)
    training.export(tmp_path / "model")
    encoder = load_encoder(f"local-dir:{tmp_path / 'model'}", mpp=plan.mpp)
    tile = store.images[0][:2]
    training.model.eval()
    with torch.inference_mode():
        direct = training.model.encode_image(encoder.pixels(tile)).numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(encoder.encode_tiles(tile), direct, atol=0.02)  # weights ship as fp16


def test_a_recipe_with_an_unknown_word_is_refused(tmp_path: Path) -> None:
    assert load_recipe("encoder").id == "embedded"
    with pytest.raises(UserError, match="No recipe 'encodr'"):
        load_recipe("encodr")
    bad = tmp_path / "bad.yaml"
    bad.write_text(json.dumps(load_recipe("encoder").model_dump() | {"lerning_rate": 1}))
    with pytest.raises(UserError, match="lerning_rate"):
        load_recipe(bad)
