"""What is known of an encoder besides its weights."""

from __future__ import annotations

from pydantic import Field

from pathagent_tools.core.geometry import Frozen, TileSpec


class EncoderSpec(Frozen):
    """Identity, licence and input of one encoder. `revision` changes whenever the weights do.

    Tiles are `tile_px` pixels a side at `mpp` µm/px; pixels are scaled to 0..1, then (x - mean) / std.
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

    @property
    def tiles(self) -> TileSpec:
        """The grid that this encoder reads: no overlap."""
        return TileSpec(tile_px=self.tile_px, mpp=self.mpp)
