"""Stable-Diffusion-class pipelines from a folder in diffusers' format, behind the same protocol.

PathLDM-class models have the same parts: an autoencoder, a U-Net with cross-attention, a text encoder, a
noise schedule; a LoRA and a ControlNet may be added. The tasks speak of x_t = t · x + (1 - t) · noise; such
a U-Net was trained on √ᾱ · x + √(1 - ᾱ) · noise, which is the same up to a factor where the ratio of noise
and image agrees. It is told words, as a sentence, and layouts where there is a ControlNet, nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from pathagent_tools.core.card import CARD_NAME, ModelCard, hash_files
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file
from pathagent_tools.generators.conditions import Conditions
from pathagent_tools.generators.protocol import Images

INDEX: Final = "model_index.json"
LORA: Final = "pytorch_lora_weights.safetensors"


_SAFE: Final[dict[str, Any]] = {"use_safetensors": True, "local_files_only": True}


@dataclass(frozen=True)
class Parts:
    """Autoencoder, U-Net, text encoder with its tokenizer, and the noise schedule of a pipeline's folder."""

    vae: Any
    unet: Any
    text: Any
    tokenizer: Any
    scheduler: Any

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From safetensors only, in evaluation mode. UserError where a part cannot be loaded."""
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        try:
            unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **_SAFE)
            if unet.config.addition_embed_type or not isinstance(unet.config.sample_size, int):
                raise ValueError("its U-Net asks for more than words (SDXL), or has no one size")
            text = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", **_SAFE)
            return cls(
                vae=AutoencoderKL.from_pretrained(folder, subfolder="vae", **_SAFE).float().eval(),
                unet=unet.float().eval(),
                text=text.float().eval(),
                tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
                scheduler=DDPMScheduler.from_pretrained(folder, subfolder="scheduler"),
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise _unloadable(folder, error) from error

    @property
    def factor(self) -> int:
        """Pixels a side of one latent."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def px(self) -> int:
        """Side of the images that the U-Net was made for."""
        return int(self.unet.config.sample_size) * self.factor

    def encode(self, images: Images) -> Any:
        """The means of the latents [n, channels, px / factor, px / factor], scaled as the U-Net expects."""
        import torch

        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            return self.vae.encode(pixels).latent_dist.mean * self.vae.config.scaling_factor

    def embed(self, sentences: Sequence[str]) -> Any:
        """[n, tokens, width]: what the U-Net is told."""
        tokens = self.tokenizer(
            list(sentences), padding="max_length", max_length=self.tokenizer.model_max_length,
            truncation=True, return_tensors="pt",
        )  # fmt: skip
        return self.text(tokens.input_ids).last_hidden_state


def _unloadable(folder: Path, error: Exception) -> UserError:
    said = " ".join(str(error).split())[:200]
    return UserError(f"{folder} is no Stable-Diffusion-class pipeline that can be loaded: {said}")


def revision_of(folder: Path) -> str:
    """Digest of a pipeline's folder."""
    return sha256_bytes(canonical_json(hash_files(folder)).encode())


class LatentGenerator:
    """The parts of a pipeline folder as an `ImageGenerator`; safe to share between threads.

    lora: a folder or file of LoRA weights for the U-Net. controlnet: a folder; it sees layouts in the colours
    of `tasks.layouts.class_colours`. Weights are safetensors only. UserError where a part cannot be loaded.
    """

    def __init__(self, folder: Path, *, lora: Path | None = None, controlnet: Path | None = None) -> None:
        import torch
        from diffusers import ControlNetModel

        self.folder = folder
        self._parts = Parts.load(folder)
        self._unet = self._parts.unet
        try:
            self._control = (
                ControlNetModel.from_pretrained(controlnet, **_SAFE).eval() if controlnet else None
            )
            if lora is not None:
                self._unet.load_lora_adapter(*_lora(lora))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise _unloadable(folder, error) from error
        self._prediction = self._parts.scheduler.config.prediction_type
        kept = self._parts.scheduler.alphas_cumprod.double()
        self._kept = kept
        self._ratio = torch.sqrt((1 - kept) / kept)
        self._factor, self.px = self._parts.factor, self._parts.px
        self.card = ModelCard.load(folder) if (folder / CARD_NAME).is_file() else None
        self.id = self.card.id if self.card else folder.name
        self.revision = revision_of(folder)
        self._lock = threading.Lock()

    @classmethod
    def tuned(cls, folder: Path, *, controlnet: Path | None = None) -> Self:
        """A base with the LoRA that `pathagent finetune generator --base` trained into `folder`.

        UserError where the base is not where it was, or is another one.
        """
        if not (folder / CARD_NAME).is_file():
            raise UserError(
                f"{folder} has no {CARD_NAME}: let pathagent finetune generator --base end first."
            )
        card = ModelCard.load(folder)
        base = card.trained_on["base"]
        if not Path(base["folder"]).is_dir():
            raise UserError(f"The base of {folder} is not at {base['folder']}: put it back, or tune again.")
        found = cls(Path(base["folder"]), lora=folder, controlnet=controlnet)
        if found.revision != base["revision"]:
            raise UserError(
                f"{base['folder']} is not what {folder} was tuned on: put that back, or tune again."
            )
        found.card, found.id = card, card.id
        found.revision = sha256_bytes(f"{found.revision} {sha256_file(folder / LORA)}".encode())
        return found

    def noise(self, seeds: Sequence[int], size: int) -> Any:
        """[n, latent channels, size / factor, size / factor]."""
        import torch

        shape = (int(self._unet.config.in_channels), size // self._factor, size // self._factor)
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])

    def encode(self, images: Images) -> Any:
        """The means of the latents, scaled as the U-Net expects them."""
        with self._lock:
            return self._parts.encode(images)

    def decode(self, x: Any) -> Images:
        """[n, h, w, 3] uint8."""
        import torch

        with self._lock, torch.inference_mode():
            pixels = self._parts.vae.decode(x.float() / self._parts.vae.config.scaling_factor).sample
        grey = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return np.asarray(grey.permute(0, 2, 3, 1).numpy())

    def denoise(self, x: Any, t: float, conditions: Sequence[Conditions]) -> Any:
        """Estimate of the clean latents. UserError for conditions that such a pipeline cannot follow."""
        import torch

        for condition in conditions:
            self._check(condition)
        ratio = (1 - t) / max(t, 1e-6)
        step = int((self._ratio - ratio).abs().argmin())
        image, noise = (float(v) for v in (self._kept[step].sqrt(), (1 - self._kept[step]).sqrt()))
        given = x * (image / t) if t > 1e-3 else x
        with self._lock, torch.inference_mode():
            words = self._parts.embed([sentence(c) for c in conditions])
            more = self._controlled(given, step, words, conditions)
            out = self._unet(given, step, encoder_hidden_states=words, **more).sample
        if self._prediction == "epsilon":
            return (given - noise * out) / image
        if self._prediction == "v_prediction":
            return image * given - noise * out
        return out

    def _controlled(self, x: Any, step: int, words: Any, conditions: Sequence[Conditions]) -> dict[str, Any]:
        """What the ControlNet adds to the U-Net; nothing without layouts."""
        import torch

        from pathagent_tools.generators.tasks.layouts import class_colours

        if self._control is None or any(c.layout is None for c in conditions):
            return {}
        shown = np.stack([class_colours(c.layout.labels) for c in conditions if c.layout is not None])
        picture = torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255
        down, mid = self._control(
            x, step, encoder_hidden_states=words, controlnet_cond=picture, return_dict=False
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}

    def _check(self, condition: Conditions) -> None:
        if self.card is not None and abs(condition.mpp / self.card.tile_mpp - 1) > 0.02:
            known = self.card.tile_mpp
            raise UserError(
                f"{self.id} draws at {known:g} um per px, not {condition.mpp:g}: add --mpp {known:g}."
            )
        refused = {
            "dials": bool(condition.dials),
            "a stain code": condition.stain is not None,
            "a reference image": condition.reference is not None,
            "a layout without a ControlNet": condition.layout is not None and self._control is None,
        }
        wrong = [name for name, asked in refused.items() if asked]
        if wrong:
            raise UserError(f"The pipeline {self.id} cannot follow {wrong[0]}: use --generator embedded.")


def _lora(path: Path) -> tuple[dict[str, Any], str | None]:
    """(weights, prefix of their names) of a LoRA in diffusers' format: a pipeline's or a U-Net's own."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = path / LORA if path.is_dir() else path
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} holds no LoRA weights that can be read ({error}): tune it again.") from error
    own = [key for key in weights if key.startswith("unet.")]
    if not own and not any(".lora" in key for key in weights):
        raise ValueError(f"{file} holds no LoRA weights")
    return weights, "unet" if own else None


def sentence(condition: Conditions) -> str:
    """The words as such a model reads them; empty where there are none."""
    said = [
        f"{word} {slot.replace('_', ' ')}"
        if slot in ("nuclear_grade", "mitoses", "inflammation", "stain")
        else word
        for slot, word in condition.words.items()
        if word not in ("none", "absent")
    ]
    return f"H&E histology, {', '.join(said)}" if said else ""
