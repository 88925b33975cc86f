"""What holds for every slide of a job, besides the slides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field

from pathagent_tools.core.files import sha256_file
from pathagent_tools.core.geometry import Frozen, TileSpec
from pathagent_tools.encoders.runtimes import Runtime
from pathagent_tools.encoders.spec import EncoderSpec
from pathagent_tools.slides.tile_reader import Resampling


class EncodeSettings(Frozen):
    """`overlap_px`: at the encoder's mpp. `min_tissue`: share of tissue, 0..1, that a tile must have.

    `imported`: folder of another tool's features, taken over instead of encoding.
    """

    encoder: str = "embedded"
    mpp: float | None = None
    mpp_csv: str | None = None
    overlap_px: int = Field(default=0, ge=0)
    min_tissue: float = Field(default=0.25, ge=0, le=1)
    resampling: Resampling = "reduced"
    imported: str | None = None
    tile_mpp: float | None = None
    weights: str | None = None
    device: str = "cpu"
    runtime: Runtime = "auto"
    workers: int = Field(default=1, ge=1)

    def key(self, spec: EncoderSpec, mpp: float | None) -> dict[str, Any]:
        """What a slide's features depend on besides its bytes; a change of any of it recomputes."""
        return {
            "encoder": spec.id,
            "encoder_revision": spec.revision,
            "tile_px": spec.tile_px,
            "mpp": spec.mpp,
            "overlap_px": self.overlap_px,
            "min_tissue": self.min_tissue,
            "resampling": self.resampling,
            "slide_mpp": mpp if mpp is not None else self.mpp,
            "mpp_csv": sha256_file(Path(self.mpp_csv)) if self.mpp_csv else None,
            "imported": self.imported,
        }

    def grid(self, spec: EncoderSpec) -> TileSpec:
        """The encoder's tiles with this overlap."""
        return TileSpec(tile_px=spec.tile_px, mpp=spec.mpp, overlap_px=self.overlap_px)


def default_workers() -> int:
    """Reading is several times as fast as encoding: half of the processors, at most four."""
    return max(1, min(4, len(os.sched_getaffinity(0)) // 2))
