"""Tile encoders without words: any timm or transformers vision model as a `SlideEncoder`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.spec import EncoderSpec, Pooling
from pathagent_tools.encoders.tile_input import TileInput, check_tiles

BATCH: Final = 64
Forward = Callable[[Any], Any]
"""Normalised tiles [N, 3, px, px] → embeddings [N, dim]."""


class ImageEncoder:
    """A vision model that embeds tiles and no text. Deterministic and safe to share between threads.

    On a GPU it runs in mixed precision; embeddings are float32 either way.
    """

    def __init__(self, forward: Forward, spec: EncoderSpec, *, device: str = "cpu") -> None:
        self.spec = spec
        self.id, self.revision, self.dim = spec.id, spec.revision, spec.dim
        self.tile_px, self.tile_mpp = spec.tile_px, spec.mpp
        self.device = device
        self._forward = forward
        self._pixels = TileInput(spec, device)
        self._lock = threading.Lock()

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, tile_px, tile_px, 3] uint8 RGB at `tile_mpp` → [N, dim] float32, un-normalised.

        UserError names the right size where the tiles have another.
        """
        import torch

        check_tiles(self.spec, tiles)
        out = np.empty((len(tiles), self.dim), np.float32)
        kind = torch.device(self.device).type
        with self._lock, torch.inference_mode(), torch.autocast(kind, torch.float16, enabled=kind != "cpu"):
            for start in range(0, len(tiles), BATCH):
                features = self._forward(self._pixels(tiles[start : start + BATCH]))
                self._check_width(tuple(features.shape[1:]))
                out[start : start + BATCH] = features.float().cpu().numpy()
        return out

    def _check_width(self, width: tuple[int, ...]) -> None:
        if width != (self.dim,):
            raise UserError(
                f"Encoder {self.id!r} gives {list(width)} numbers a tile, not [{self.dim}]: these are other "
                "weights. Give those of its own repository with --weights FOLDER."
            )

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Always a UserError: there is no text tower."""
        raise UserError(
            f"Encoder {self.id!r} embeds images only: it has no text tower to read words with. "
            "Use a CLIP-style encoder for that, for example 'embedded' or 'quiltnet-b-32'."
        )


def timm_forward(folder: Path, arguments: dict[str, Any], pooling: Pooling, device: str) -> Forward:
    """The model of a folder in timm's hub format (`config.json`, `model.safetensors`), in evaluation mode.

    arguments: of the architecture, where `config.json` does not hold them. Raises what timm raises:
    RuntimeError or ValueError where weights and architecture do not fit.
    """
    import timm

    # With its own classifier: only then does timm load strictly, and leave no missing weight random.
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, **_layers(arguments))
    model.reset_classifier(0)
    model = model.eval().to(device)
    if pooling == "pooled":
        return lambda x: model(x)
    if pooling == "third-stage":
        return lambda x: model.forward_intermediates(x, indices=[3], intermediates_only=True)[0].mean((2, 3))
    return lambda x: _pooled(model.forward_features(x), pooling, model.num_prefix_tokens)


def transformers_forward(folder: Path, pooling: Pooling, device: str) -> Forward:
    """A vision transformer in the format of transformers; no code of the folder is run."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    model = model.eval().to(device)
    registers = getattr(model.config, "num_register_tokens", 0)
    return lambda x: _pooled(model(pixel_values=x).last_hidden_state, pooling, 1 + registers)


def _pooled(tokens: Any, pooling: Pooling, prefix: int) -> Any:
    """[N, T, D] → class token, or class token and mean of the patch tokens (the first `prefix` are none)."""
    import torch

    if pooling == "token":
        return tokens[:, 0]
    return torch.cat([tokens[:, 0], tokens[:, prefix:].mean(1)], dim=-1)


def _layers(arguments: dict[str, Any]) -> dict[str, Any]:
    """Names of layers as the classes that timm wants."""
    import torch
    from timm.layers import SwiGLUPacked

    classes = {"SwiGLUPacked": SwiGLUPacked, "SiLU": torch.nn.SiLU}
    return {k: classes.get(v, v) if isinstance(v, str) else v for k, v in arguments.items()}
