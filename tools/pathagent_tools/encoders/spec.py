"""What is known of an encoder besides its weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen, TileSpec

Pooling = Literal["pooled", "token", "token+mean", "third-stage"]
Fit = Literal["resize", "crop"]


class EncoderSpec(Frozen):
    """Identity, licence and input of one encoder. `revision` changes whenever the weights do.

    Tiles are `tile_px` pixels a side at `mpp` µm/px; the network takes `input_px` (`tile_px` where None),
    made by resizing or by cropping the middle. Pixels are scaled to 0..1, then (x - mean) / std.
    """

    id: str
    source: str = Field(description="'local-dir:…' or 'hf-hub:org/repo'")
    revision: str
    licence: str
    gated: bool = False
    dim: int
    tile_px: int
    mpp: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_px: int | None = None
    fit: Fit = "resize"
    pooling: Pooling = "pooled"
    text: bool = True

    @property
    def tiles(self) -> TileSpec:
        """The grid that this encoder reads: no overlap."""
        return TileSpec(tile_px=self.tile_px, mpp=self.mpp)


def check_grid(grid: TileSpec, *, encoder: str, tile_px: int, mpp: float) -> None:
    """UserError with the right pair unless the grid's tiles are the encoder's: `tile_px` at `mpp` µm/px."""
    if grid.tile_px == tile_px and abs(grid.mpp - mpp) < 1e-6:
        return
    raise UserError(
        f"Encoder {encoder!r} takes {tile_px} px tiles at {mpp:g} µm/px "
        f"({tile_px * mpp:g} µm a side); asked for {grid.tile_px} px at {grid.mpp:g} µm/px. "
        f"Use TileSpec(tile_px={tile_px}, mpp={mpp:g})."
    )
