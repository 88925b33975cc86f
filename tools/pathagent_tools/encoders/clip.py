"""Any open_clip model as a `SlideEncoder`: tiles and phrases into one space."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.encoders.runtimes import Runtime, image_tower
from pathagent_tools.encoders.spec import EncoderSpec
from pathagent_tools.encoders.tile_input import TileInput, check_tiles

BATCH: Final = 64
CACHED_BATCH: Final = 16
"""For the faster runtimes of a CPU: what lies between layers stays in its cache, and memory is saved."""


class OpenClipEncoder:
    """An open_clip model with its tokenizer. Deterministic and safe to share between threads.

    `model` must be in evaluation mode. `logit_scale` is the factor on cosines that the model was trained
    with: softmax over classes uses it, and only for ranking. `folder` holds the weights and what ships
    beside them. runtime: how the image side runs on a CPU (see `runtimes`).
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        spec: EncoderSpec,
        *,
        device: str = "cpu",
        folder: Path | None = None,
        runtime: Runtime = "folded",
    ) -> None:
        import torch

        self.spec = spec
        self.id, self.revision, self.dim = spec.id, spec.revision, spec.dim
        self.tile_px, self.tile_mpp = spec.tile_px, spec.mpp
        self.folder = folder
        self.model = model.to(device=device, memory_format=torch.channels_last)
        self.device = device
        self.logit_scale = float(model.logit_scale.detach().exp())
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._pixels = TileInput(spec, device)
        self._batch = CACHED_BATCH if device == "cpu" and runtime != "eager" else BATCH
        self._image = image_tower(self.model, runtime if device == "cpu" else "eager", spec.tile_px)

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, tile_px, tile_px, 3] uint8 RGB at `tile_mpp` → [N, dim] float32, un-normalised.

        UserError names the right size where the tiles have another.
        """
        import torch

        self.check_tiles(tiles)
        out = np.empty((len(tiles), self.dim), np.float32)
        with self._lock, torch.inference_mode():
            for start in range(0, len(tiles), self._batch):
                batch = self.pixels(tiles[start : start + self._batch])
                out[start : start + self._batch] = self._image(batch).float().cpu().numpy()
        return out

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Phrases → [N, dim] float32, un-normalised."""
        import torch

        if not texts:
            return np.empty((0, self.dim), np.float32)
        tokens = self._tokenizer(list(texts)).to(self.device)
        with self._lock, torch.inference_mode():
            return np.asarray(self.model.encode_text(tokens).float().cpu().numpy(), np.float32)

    def pixels(self, tiles: NDArray[np.uint8]) -> Any:
        """Tiles as the network's input: float [N, 3, tile_px, tile_px], normalised, channels last."""
        return self._pixels(tiles)

    def check_tiles(self, tiles: NDArray[np.uint8]) -> None:
        """UserError unless `tiles` is uint8 [N, tile_px, tile_px, 3]."""
        check_tiles(self.spec, tiles)
