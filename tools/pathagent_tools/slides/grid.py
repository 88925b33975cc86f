"""Regular grids of tiles over the tissue of a slide."""

from __future__ import annotations

import numpy as np

from pathagent_tools.core.errors import SlideError
from pathagent_tools.core.geometry import Region, TileSpec
from pathagent_tools.slides.slide import UPSAMPLING_SLACK, Slide
from pathagent_tools.slides.tissue import Tissue


def tile_grid(slide: Slide, tissue: Tissue, spec: TileSpec, min_tissue: float = 0.25) -> list[Region]:
    """Tiles of `spec` inside the slide's bounds whose tissue share is at least `min_tissue` (0..1).

    Row by row from the upper left. Positions are rounded one by one from a float stride, so a grid does
    not drift. Raises SlideError where `spec.mpp` asks for more detail than was scanned.
    """
    if slide.mpp / spec.mpp > UPSAMPLING_SLACK:
        raise SlideError(
            f"Tiles at mpp={spec.mpp:g} were asked of a slide at mpp={slide.mpp:g}. "
            f"Up-sampling is not supported: use TileSpec(tile_px={spec.tile_px}, mpp={slide.mpp:.4g})."
        )
    left, top, width, height = slide.bounds
    xs = left + np.array(spec.origins(width, slide.mpp), dtype=np.int64)
    ys = top + np.array(spec.origins(height, slide.mpp), dtype=np.int64)
    side = round(spec.size_level0(slide.mpp))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    if len(grid) == 0:
        return []
    boxes = np.concatenate([grid, np.full_like(grid, side)], axis=1)
    kept = boxes[tissue.fractions(boxes) >= min_tissue]
    return [
        Region(slide=slide.id, x=int(x), y=int(y), width=side, height=side, mpp=spec.mpp)
        for x, y in kept[:, :2]
    ]
