"""From tiles as they are cut to what a network takes: size, scale, normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.spec import EncoderSpec


class TileInput:
    """Turns uint8 tiles [N, tile_px, tile_px, 3] into float [N, 3, input_px, input_px] on a device."""

    def __init__(self, spec: EncoderSpec, device: str = "cpu") -> None:
        import torch

        self.spec, self.device = spec, device
        self._mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)

    def __call__(self, tiles: NDArray[np.uint8]) -> Any:
        """Normalised, channels last in memory."""
        import torch

        x = torch.from_numpy(np.array(tiles))
        if self.device != "cpu":
            x = x.pin_memory().to(self.device, non_blocking=True)
        x = self._fitted(x.permute(0, 3, 1, 2).to(torch.float32) / 255)
        return ((x - self._mean) / self._std).contiguous(memory_format=torch.channels_last)

    def _fitted(self, x: Any) -> Any:
        from torch.nn.functional import interpolate

        spec = self.spec
        px = spec.input_px or spec.tile_px
        if px == spec.tile_px:
            return x
        if spec.fit == "crop":
            edge = (spec.tile_px - px) // 2
            return x[:, :, edge : edge + px, edge : edge + px]
        return interpolate(x, (px, px), mode="bilinear", antialias=True, align_corners=False)


def check_tiles(spec: EncoderSpec, tiles: NDArray[np.uint8]) -> None:
    """UserError unless `tiles` is uint8 [N, tile_px, tile_px, 3]."""
    wanted = (spec.tile_px, spec.tile_px, 3)
    if tiles.ndim == 4 and tiles.shape[1:] == wanted and tiles.dtype == np.uint8:
        return
    if tiles.ndim == 4 and tiles.shape[-1] == 3 and tiles.dtype == np.uint8:
        given = f"{tiles.shape[2]} × {tiles.shape[1]} px"
    else:
        given = f"{tiles.dtype} {list(tiles.shape)}"
    raise UserError(
        f"Encoder {spec.id!r} takes tiles of {spec.tile_px} px at {spec.mpp:g} µm/px, uint8 RGB "
        f"[N, {spec.tile_px}, {spec.tile_px}, 3]; given {given}. "
        f"Use TileSpec(tile_px={spec.tile_px}, mpp={spec.mpp:g})."
    )
