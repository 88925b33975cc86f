"""The shipped VLM looks: its answers fall to the floor with random weights, and with a blank image."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from pathagent_eval.slots import table
from pathagent_tools.core.protocols import VisionLanguageModel
from pathagent_tools.vlm.inprocess import TransformersVLM
from pathagent_tools.vlm.profile import load_profile, open_vlm

TILES = 64


def random_weights(folder: Path) -> VisionLanguageModel:
    """The embedded VLM with its own files and weights that have learned nothing."""
    with as_file(files("pathagent_tools.vlm") / "embedded") as shipped:
        shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns("model.safetensors", "card.json"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    model.save_pretrained(folder)
    return TransformersVLM(folder)


@pytest.fixture(scope="module")
def shipped() -> dict[str, float]:
    found = table(open_vlm(load_profile("embedded")), TILES)
    return {k: v for k, v in found.items() if isinstance(v, float)}


def test_the_shipped_model_is_far_above_a_blank_image(shipped: dict[str, float]) -> None:
    assert shipped["gain_low"] > 0.2
    assert shipped["macro_model"] > 0.7


def test_random_weights_of_the_same_architecture_know_nothing(
    shipped: dict[str, float], tmp_path: Path
) -> None:
    ignorant = table(random_weights(tmp_path / "random"), TILES)
    assert ignorant["macro_model"] < ignorant["macro_blank"] + 0.1
    assert ignorant["macro_model"] < shipped["macro_model"] - 0.3
