"""A LoRA of a pipeline on a user's tiles: it learns, goes on where it stopped, is opened, refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pil
from safetensors.torch import load_file
from tiny_pipeline import write_pipeline

from pathagent_finetune.generator_lora import MODEL, LoraRecipe, tiles_of, train
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.generators.conditions import Conditions
from pathagent_tools.generators.latent_pipeline import LORA, LatentGenerator
from pathagent_tools.generators.registry import load_generator

STROMA = Conditions(words={"tissue": "stroma"}, mpp=0.5)
RECIPE = """
seed: 3
mpp: 0.5
rank: 4
targets: [to_q, to_k, to_v, to_out.0]
batch: 4
hold_out: 0.2
forget: 0.1
budget: {{steps: {steps}, lr: 2.0e-2, warmup: 0.02, final: 0.1, weight_decay: 0.0}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve tiles of six patients: stripes for stroma, in words; discs for tumour, in a caption."""
    ys, xs = np.mgrid[0:40, 0:48]
    folder = tmp_path / "tiles"
    folder.mkdir()
    rows = []
    for i in range(12):
        stripes = xs * (1 + i / 24) % 8 < 4 if i % 2 else (xs - 24) ** 2 + (ys - 20) ** 2 < (6 + i) ** 2
        picture = np.where(stripes[..., None], (120, 60, 140), (230, 180, 210)).astype(np.uint8)
        Pil.fromarray(picture).save(folder / f"{i}.png")
        said = {"tissue": "stroma"} if i % 2 else {"text": "H&E histology, invasive tumour"}
        rows.append({"image": f"{i}.png", "patient": f"P{i // 2}", **said})
    return table(folder / "tiles.csv", rows)


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["image", "patient", "tissue", "text", "mpp", "split"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def recipe(folder: Path, steps: int) -> Path:
    path = folder / f"{steps}.yaml"
    path.write_text(RECIPE.format(steps=steps))
    return path


def test_it_learns_the_tiles_and_is_opened_with_its_base(base: Path, data: Path, tmp_path: Path) -> None:
    folder = train(recipe(tmp_path, 60), base, data, tmp_path / "out")
    card = ModelCard.load(folder)
    assert card.scores["held_out"] < 0.97 * card.scores["held_out_base"]
    assert card.trained_on["tiles"]["train"] + card.trained_on["tiles"]["held_out"] == 12
    tuned, plain = load_generator(f"local-dir:{folder}"), LatentGenerator(base)
    x = plain.noise([1], 32)
    assert float((tuned.denoise(x, 0.5, [STROMA]) - plain.denoise(x, 0.5, [STROMA])).abs().max()) > 1e-3
    assert tuned.revision != plain.revision and tuned.id == "model-lora"
    with pytest.raises(UserError, match=r"add --mpp 0\.5"):
        tuned.denoise(x, 0.5, [STROMA.but(mpp=1.0)])


def test_the_card_is_of_the_adapter_that_was_kept(base: Path, data: Path, tmp_path: Path) -> None:
    """At a rate that ruins it the first evaluations are the best ones."""
    plan, often = tmp_path / "wild.yaml", "evaluate_minutes: 1.0e-9, weight_decay"
    plan.write_text(RECIPE.format(steps=40).replace("2.0e-2", "3.0").replace("weight_decay", often))
    card = ModelCard.load(train(plan, base, data, tmp_path / "out"))
    rows = [json.loads(line) for line in (tmp_path / "out/stage-0/log.jsonl").read_text().splitlines()]
    judged = [row["held_out"] for row in rows if row.get("event") == "evaluation"]
    assert card.scores["held_out"] == min(judged) < judged[-1]


def test_one_that_stops_goes_on_to_the_same_weights(base: Path, data: Path, tmp_path: Path) -> None:
    plan = recipe(tmp_path, 5)
    train(plan, base, data, tmp_path / "whole")
    for _ in range(5):
        train(plan, base, data, tmp_path / "parts", minutes=1e-9)
    train(plan, base, data, tmp_path / "parts")
    whole, parts = (load_file(tmp_path / name / MODEL / LORA) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_no_patient_is_on_both_sides_and_words_become_the_sentence(data: Path) -> None:
    plan = LoraRecipe.model_validate(
        {"seed": 3, "mpp": 0.5, "rank": 4, "targets": ["to_q"], "batch": 4, "hold_out": 0.2, "forget": 0.1,
         "budget": {"steps": 1}}
    )  # fmt: skip
    tiles = tiles_of(data, plan)
    sides = {held: {int(t.image.stem) // 2 for t in tiles if t.held_out == held} for held in (False, True)}
    assert sides[True] and sides[False] and not sides[True] & sides[False]
    assert {t.said for t in tiles} == {"H&E histology, stroma", "H&E histology, invasive tumour"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"image": "absent.png", "tissue": "stroma"}, "no file"),
        ({"image": "0.png", "tissue": "strorna"}, "strorna"),
        ({"image": "0.png"}, "no caption"),
        ({"image": "tiles.csv", "tissue": "stroma"}, "cannot be read as an image"),
        ({"image": "0.png", "tissue": "stroma", "mpp": "0.25"}, "larger tiles"),
        ({"image": "0.png", "tissue": "stroma", "mpp": "fine"}, "no um per px"),
        ({"image": "3.png", "patient": "P9", "tissue": "stroma", "split": "validation"}, "two splits"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_is_written(
    base: Path, data: Path, tmp_path: Path, row: dict[str, str], said: str
) -> None:
    good = [{"image": f"{i}.png", "patient": f"P{i}", "tissue": "stroma"} for i in range(1, 8)]
    bad = table(data.parent / "bad.csv", [*good, row])
    with pytest.raises(UserError, match=said):
        train(recipe(tmp_path, 2), base, bad, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_base_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Stable-Diffusion-class pipeline"):
        train(recipe(tmp_path, 2), tmp_path, data, tmp_path / "out")
    folder = train(recipe(tmp_path, 2), base, data, tmp_path / "out")
    card = ModelCard.load(folder)
    wrong = card.trained_on | {"base": {"folder": str(base), "revision": "another"}}
    card.model_copy(update={"trained_on": wrong}).save(folder)
    with pytest.raises(UserError, match="is not what"):
        load_generator(f"local-dir:{folder}")
    gone = card.trained_on | {"base": {"folder": str(tmp_path / "gone"), "revision": "x"}}
    card.model_copy(update={"trained_on": gone}).save(folder)
    with pytest.raises(UserError, match="put it back"):
        load_generator(f"local-dir:{folder}")
