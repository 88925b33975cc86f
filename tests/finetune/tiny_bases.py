"""Tiny random checkpoints of real architectures in the format of the hub, and tiles to tune them on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from pathagent_finetune.architecture import CHAT_TEMPLATE, VLMSize, build_model, save_checkpoint
from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS

TEXT = {
    "vocab_size": 2112, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 2048,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
QWEN = VLMSize(
    tile_px=64, vision_depth=1, vision_hidden=32, vision_heads=1, vision_mlp=48, deepstack=(0,),
    hidden=32, layers=2, heads=1, kv_heads=1, head_dim=32, mlp=48, vocab=2048,
)  # fmt: skip


IMAGE_TOKENS = {
    "llava": {},
    "gemma3": {
        "boi_token": "<start_of_image>", "image_token": "<image_soft_token>", "eoi_token": "<end_of_image>",
    },
    "idefics3": {
        "around": "<fake_token_around_image>", "image_token": "<image>", "end": "<end_of_utterance>",
        "global": "<global-img>",
    },
}  # fmt: skip
SHOWN = {"llava": "<|image_pad|>", "gemma3": "<start_of_image>", "idefics3": "<image>"}
"""What stands for an image in the chat template."""


def tokenizer(architecture: str = "qwen3-vl") -> Any:
    """That of the embedded model, with the image tokens of the architecture."""
    from transformers import AutoTokenizer

    extra = IMAGE_TOKENS.get(architecture)
    given = {"extra_special_tokens": extra} if extra else {}
    return AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS, **given)


def model(architecture: str) -> Any:
    """A model with random weights: qwen3-vl, gemma3, llava or idefics3."""
    import torch
    import transformers as t

    torch.manual_seed(3)
    words = tokenizer(architecture)
    if architecture == "qwen3-vl":
        return build_model(QWEN, words, seed=3)
    llama, image = t.LlamaConfig(**TEXT, pad_token_id=0), words.convert_tokens_to_ids
    if architecture == "llava":
        clip = t.CLIPVisionConfig(**VISION)
        shown = {"image_token_index": image(SHOWN["llava"])}
        return t.LlavaForConditionalGeneration(t.LlavaConfig(text_config=llama, vision_config=clip, **shown))
    if architecture == "idefics3":
        shown = {"image_token_id": image("<image>"), "pad_token_id": 0}
        idefics = t.Idefics3Config(text_config=llama, vision_config=VISION, scale_factor=1, **shown)
        return t.Idefics3ForConditionalGeneration(idefics)
    gemma = t.Gemma3Config(
        text_config=TEXT | {"model_type": "gemma3_text"},
        vision_config=VISION | {"model_type": "siglip_vision_model"},
        mm_tokens_per_image=4,
        image_token_index=image("<image_soft_token>"),
        boi_token_index=image("<start_of_image>"),
        eoi_token_index=image("<end_of_image>"),
    )
    return t.Gemma3ForConditionalGeneration(gemma)


def processor(architecture: str) -> Any:
    """The architecture's own processor for images of 28 px, on the tokenizer of the embedded model."""
    import transformers as t

    words = tokenizer(architecture)
    chat = CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", SHOWN[architecture])
    square = {"height": 28, "width": 28}
    if architecture == "gemma3":
        return t.Gemma3Processor(
            t.Gemma3ImageProcessor(size=square), words, chat_template=chat, image_seq_length=4
        )
    if architecture == "idefics3":
        pixels = t.Idefics3ImageProcessor(
            size={"longest_edge": 28}, max_image_size={"longest_edge": 28}, do_image_splitting=False
        )
        return t.Idefics3Processor(pixels, words, image_seq_len=4, chat_template=chat)
    return t.LlavaProcessor(
        t.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=square),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=chat,
        image_token=SHOWN["llava"],
        num_additional_image_tokens=1,
    )


def save(architecture: str, folder: Path) -> Path:
    """A checkpoint that `AutoModelForImageTextToText` and `AutoProcessor` open offline."""
    if architecture == "qwen3-vl":
        save_checkpoint(folder, model(architecture), tokenizer(), QWEN)
    else:
        model(architecture).save_pretrained(folder)
        processor(architecture).save_pretrained(folder)
    return folder


def write_tiles(folder: Path, patients: int = 6, *, px: int = 64) -> Path:
    """A table of two tiles a patient, each with a class and a caption; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with (folder / "tiles.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(("image", "tissue", "caption", "patient"))
        for i in range(2 * patients):
            Image.fromarray(rng.integers(0, 255, (px, px, 3), dtype=np.uint8)).save(folder / f"{i}.png")
            table.writerow((f"{i}.png", "stroma", "Loose stroma, nothing else.", f"P{i // 2}"))
    return folder / "tiles.csv"


def write_recipe(path: Path, base: Path | str, /, **changes: Any) -> Path:
    """A short recipe for a tiny base."""
    recipe = {
        "id": "tiny", "version": "1", "seed": 1, "base": str(base), "role": "describe", "rank": 4, "alpha": 8,
        "steps": 4, "lr": 1e-2, "batch": 2, "max_length": 512, "evaluate_steps": 2, "validation": 0.3,
        "mpp": 1.0,
    }  # fmt: skip
    merged = {key: value for key, value in (recipe | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(merged))
    return path
