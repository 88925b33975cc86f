"""The embedded VLM: a stock Qwen3-VL made small, saved in the format of the hub.

Nothing here is a model class of our own: the sizes are small, the classes are those of `transformers`,
so the same folder is loaded in-process, by `AutoModelForImageTextToText` and by vLLM.

A tile of 192 px at 1.0 µm/px becomes 12 × 12 patches of 16 px, merged 2 × 2 into 36 image tokens, each
of which covers 32 × 32 µm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration

IMAGE_MEAN = (0.5, 0.5, 0.5)
IMAGE_STD = (0.5, 0.5, 0.5)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type in ('image', 'image_url') or 'image' in part or 'image_url' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML, as in the Qwen family; images stand where the message lists them."""


class VLMSize(Frozen):
    """The sizes of one tiny Qwen3-VL. Defaults: about 6 M parameters."""

    tile_px: int = 192
    patch_px: int = 16
    vision_depth: int = 6
    vision_hidden: int = 192
    vision_heads: int = 6
    vision_mlp: int = 576
    deepstack: tuple[int, ...] = Field(default=(1, 3), description="vision layers fed to the first LM layers")
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    mlp: int = 704
    max_tokens: int = 2048
    vocab: int = 2048

    @model_validator(mode="after")
    def _fits(self) -> VLMSize:
        if self.tile_px % (2 * self.patch_px):
            raise ValueError(f"tile_px {self.tile_px} must be a multiple of {2 * self.patch_px}")
        if self.vision_hidden % self.vision_heads:
            raise ValueError("vision_hidden must be a multiple of vision_heads")
        if any(i >= self.vision_depth for i in self.deepstack) or len(self.deepstack) > self.layers:
            raise ValueError(f"deepstack {self.deepstack} needs layers of the vision tower and of the LM")
        return self

    @property
    def image_tokens(self) -> int:
        """Language-model tokens of one tile: (tile_px / 32)²."""
        return (self.tile_px // (2 * self.patch_px)) ** 2


def _rope_sections(head_dim: int) -> list[int]:
    """Split of head_dim / 2 rotary frequencies over time, height and width."""
    half = head_dim // 2
    side = half // 3
    return [half - 2 * side, side, side]


def model_config(size: VLMSize, tokenizer: PreTrainedTokenizerBase) -> Any:
    """The `Qwen3VLConfig` of these sizes, with the special ids of this tokenizer."""
    from transformers import Qwen3VLConfig

    ids = {t: tokenizer.convert_tokens_to_ids(f"<|{t}|>") for t in _TOKENS}
    if len(tokenizer) > size.vocab:
        raise UserError(f"The tokenizer has {len(tokenizer)} entries, the model room for {size.vocab}.")
    text = {
        "model_type": "qwen3_vl_text",
        "vocab_size": size.vocab,
        "hidden_size": size.hidden,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "head_dim": size.head_dim,
        "max_position_embeddings": size.max_tokens,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": _rope_sections(size.head_dim),
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "bos_token_id": ids["endoftext"],
        "eos_token_id": ids["im_end"],
        "pad_token_id": None,
    }
    vision = {
        "model_type": "qwen3_vl_vision",
        "depth": size.vision_depth,
        "hidden_size": size.vision_hidden,
        "intermediate_size": size.vision_mlp,
        "num_heads": size.vision_heads,
        "patch_size": size.patch_px,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": size.hidden,
        "num_position_embeddings": (size.tile_px // size.patch_px) ** 2,
        "deepstack_visual_indexes": list(size.deepstack),
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=True,
        architectures=["Qwen3VLForConditionalGeneration"],
    )


_TOKENS = ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")


def build_model(
    size: VLMSize, tokenizer: PreTrainedTokenizerBase, *, seed: int = 0
) -> Qwen3VLForConditionalGeneration:
    """A model with random weights drawn from `seed`, float32, on the CPU."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3VLForConditionalGeneration(model_config(size, tokenizer))


def _processor_files(size: VLMSize) -> dict[str, dict[str, Any]]:
    limits = {"shortest_edge": size.tile_px**2, "longest_edge": size.tile_px**2}
    common: dict[str, Any] = {
        "size": limits,
        "patch_size": size.patch_px,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": list(IMAGE_MEAN),
        "image_std": list(IMAGE_STD),
    }
    return {
        "preprocessor_config.json": {
            **common,
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
        },
        "video_preprocessor_config.json": {
            **common,
            "video_processor_type": "Qwen3VLVideoProcessor",
            "processor_class": "Qwen3VLProcessor",
        },
        "generation_config.json": {"do_sample": False},
    }


def save_checkpoint(
    folder: Path,
    model: Qwen3VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    size: VLMSize,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder that `AutoModelForImageTextToText`, `AutoProcessor` and vLLM open offline.

    `dtype` (default bfloat16) is the type of the stored weights; the model in memory is not changed.
    A tile of `tile_px` keeps its size in the processor; any other image is resized to that area.
    """
    import copy

    import torch

    folder.mkdir(parents=True, exist_ok=True)
    stored = copy.deepcopy(model).to(dtype or torch.bfloat16)
    stored.config.dtype = dtype or torch.bfloat16
    stored.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    files = _processor_files(size)
    files["generation_config.json"] |= {
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }
    for name, content in files.items():
        write_text_atomic(folder / name, json.dumps(content, indent=2) + "\n")
    write_text_atomic(folder / "chat_template.json", json.dumps({"chat_template": CHAT_TEMPLATE}) + "\n")
