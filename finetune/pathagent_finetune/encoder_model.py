"""A small open_clip model from scratch: its tokenizer, its configuration, and the folder that it ships in.

The folder is what open_clip's `local-dir:` loads offline: `open_clip_config.json`,
`open_clip_model.safetensors` (fp16) and the tokenizer files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pathagent_finetune.word_pieces import EOS, PAD
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen


class ModelShape(Frozen):
    """Sizes of both towers. `vision` is the name of a timm network, trained from random weights."""

    vision: str = "mobilenetv4_conv_small"
    dim: int = 192
    text_width: int = 192
    text_layers: int = 2
    text_heads: int = 3
    vocabulary: int = 1024
    context: int = 40


def open_clip_config(
    shape: ModelShape, *, tile_px: int, vocabulary: int, mean: Sequence[float], std: Sequence[float]
) -> dict[str, Any]:
    """The content of `open_clip_config.json`."""
    return {
        "model_cfg": {
            "embed_dim": shape.dim,
            "vision_cfg": {
                "image_size": tile_px,
                "timm_model_name": shape.vision,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "",
            },
            "text_cfg": {
                "context_length": shape.context,
                "vocab_size": vocabulary,
                "hf_tokenizer_name": "local",
                "width": shape.text_width,
                "heads": shape.text_heads,
                "layers": shape.text_layers,
                "pad_id": PAD,
                "eos_id": EOS,
                "pool_type": "eos",
            },
        },
        "preprocess_cfg": {
            "mean": list(mean),
            "std": list(std),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def write_config(folder: Path, config: dict[str, Any], tokenizer: Any) -> None:
    """Configuration and tokenizer files of a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(folder))
    write_text_atomic(folder / "open_clip_config.json", json.dumps(config, indent=2) + "\n")


def new_model(config: dict[str, Any]) -> Any:
    """A randomly initialised open_clip CLIP of this configuration (uses torch's global generator)."""
    import open_clip

    cfg = config["model_cfg"]
    text = dict(cfg["text_cfg"])
    return open_clip.CLIP(cfg["embed_dim"], vision_cfg=dict(cfg["vision_cfg"]), text_cfg=text)


def save_weights(model: Any, folder: Path) -> None:
    """fp16 safetensors of both towers, written atomically. Integer buffers stay as they are."""
    import torch
    from safetensors.torch import save_file

    half = {
        k: v.detach().to(torch.float16).contiguous() if v.is_floating_point() else v.detach().contiguous()
        for k, v in model.state_dict().items()
    }
    part = folder / "open_clip_model.safetensors.tmp"
    save_file(half, str(part), metadata={"format": "pt"})
    part.chmod(0o644)
    part.replace(folder / "open_clip_model.safetensors")
