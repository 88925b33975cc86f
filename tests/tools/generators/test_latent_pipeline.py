"""Stable-Diffusion-class pipelines: a tiny checkpoint, saved in the real format, behind the protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from peft import LoraConfig
from tiny_pipeline import unet, write_pipeline
from transformers import CLIPTextModel

from pathagent_tools.core.errors import UserError
from pathagent_tools.generators.conditions import Conditions, Layout
from pathagent_tools.generators.latent_pipeline import LatentGenerator, sentence
from pathagent_tools.generators.protocol import ImageGenerator
from pathagent_tools.generators.registry import load_generator
from pathagent_tools.generators.sampling import Sampling, sample

TUMOUR = Conditions(words={"tissue": "invasive tumour", "nuclear_grade": "high", "mitoses": "none"})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def pipeline(checkpoint: Path) -> ImageGenerator:
    return load_generator(f"local-dir:{checkpoint}")


def test_a_pipeline_folder_is_recognised_and_draws(pipeline: ImageGenerator) -> None:
    assert isinstance(pipeline, LatentGenerator) and isinstance(pipeline, ImageGenerator)
    assert pipeline.px == 32
    images = sample(pipeline, [TUMOUR, Conditions()], [1, 2], sampling=Sampling(steps=3, guidance=2.0))
    assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8


def test_words_reach_the_network_as_a_sentence(pipeline: ImageGenerator) -> None:
    assert sentence(TUMOUR) == "H&E histology, invasive tumour, high nuclear grade"
    assert sentence(Conditions()) == ""
    x = pipeline.noise([1], 32)
    told, untold = (pipeline.denoise(x, 0.4, [c]) for c in (TUMOUR, Conditions()))
    assert float((told - untold).abs().max()) > 1e-6


def test_a_pipeline_kept_in_half_precision_draws(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path)
    CLIPTextModel.from_pretrained(folder / "text_encoder").half().save_pretrained(folder / "text_encoder")
    images = sample(LatentGenerator(folder), [TUMOUR], [1], sampling=Sampling(steps=2))
    assert images.shape == (1, 32, 32, 3)


def test_time_is_translated_to_the_schedule_it_was_trained_with(checkpoint: Path) -> None:
    """A network that answers with the true noise must give back the image, at any time."""
    pipeline = LatentGenerator(checkpoint)
    image, noise = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)

    class Oracle(torch.nn.Module):
        config = pipeline._unet.config

        def forward(self, *_: object, **__: object) -> object:
            from types import SimpleNamespace

            return SimpleNamespace(sample=noise)

    pipeline._unet = Oracle()
    for t in (0.2, 0.5, 0.9):
        found = pipeline.denoise(t * image + (1 - t) * noise, t, [Conditions()])
        assert float((found - image).abs().mean()) < 0.02, t


def test_a_lora_and_a_controlnet_change_what_is_drawn(checkpoint: Path, tmp_path: Path) -> None:
    tuned = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
    tuned.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    tuned.save_lora_adapter(tmp_path / "lora")
    ControlNetModel.from_unet(
        unet(), conditioning_channels=3, conditioning_embedding_out_channels=(8, 16)
    ).save_pretrained(tmp_path / "control")  # halves the layout once, as this VAE halves the image
    control = ControlNetModel.from_pretrained(tmp_path / "control")
    for parameter in control.parameters():  # its last layers start at nought and would change nothing
        torch.nn.init.normal_(parameter, std=0.2)
    control.save_pretrained(tmp_path / "control")
    plain = LatentGenerator(checkpoint)
    x = plain.noise([3], 32)
    with_lora = LatentGenerator(checkpoint, lora=tmp_path / "lora")
    assert float((with_lora.denoise(x, 0.5, [TUMOUR]) - plain.denoise(x, 0.5, [TUMOUR])).abs().max()) > 1e-5
    layout = TUMOUR.but(layout=Layout(np.full((32, 32), 6, np.uint8)))
    other = TUMOUR.but(layout=Layout(np.full((32, 32), 2, np.uint8)))
    led = LatentGenerator(checkpoint, controlnet=tmp_path / "control")
    assert float((led.denoise(x, 0.5, [layout]) - led.denoise(x, 0.5, [other])).abs().max()) > 1e-5


def test_what_it_cannot_follow_is_refused(pipeline: ImageGenerator, tmp_path: Path) -> None:
    x = pipeline.noise([1], 32)
    for wrong in (
        Conditions(dials={"density": 1000.0}),
        Conditions(stain=(0.4,) * 9),
        Conditions(layout=Layout(np.zeros((32, 32), np.uint8))),
    ):
        with pytest.raises(UserError, match="cannot follow"):
            pipeline.denoise(x, 0.5, [wrong])
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(UserError, match="no Stable-Diffusion-class pipeline"):
        load_generator(f"local-dir:{tmp_path}")
