"""Tiles: inside the bounds, on the tissue, without drift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import SlideError
from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.slides import Limits, Slide, Tissue, tile_grid
from pathagent_tools.slides.background import Background
from pathagent_tools.slides.reader import GuardedReader
from pathagent_tools.slides.resolution import Resolution
from pathagent_tools.slides.source import SlideSource


def slide_of(width: int, height: int, mpp: float, bounds: tuple[int, int, int, int] | None = None) -> Slide:
    path = Path("never-opened.svs")
    names = ("x", "y", "width", "height")
    properties = {f"openslide.bounds-{k}": str(v) for k, v in zip(names, bounds or (), strict=False)}
    return Slide(
        SlideSource(path, (path,), path.name),
        GuardedReader(path, name=path.name, limits=Limits()),
        slide_id="S1",
        resolution=Resolution(mpp, "openslide.mpp-x", mpp),
        facts={"properties": properties, "levels": [(width, height)]},
    )


def tissue_of(slide: Slide, mask: np.ndarray) -> Tissue:
    per_px = slide.width / mask.shape[1]
    white = Background((244.0, 244.0, 244.0), "white", True)
    return Tissue(mask, np.zeros_like(mask), per_px, per_px * slide.mpp, 1.0, (), white)


@pytest.mark.parametrize("mpp", [0.23, 0.265, 0.4955])
def test_a_hundred_tiles_do_not_drift(mpp):
    spec = TileSpec(tile_px=256, mpp=0.5)
    stride = spec.stride_level0(mpp)
    slide = slide_of(round(100 * stride) + 1, 700, mpp)
    tiles = tile_grid(slide, tissue_of(slide, np.ones((7, 100), bool)), spec)
    row = [t for t in tiles if t.y == 0]
    assert len(row) == 100
    assert row[99].x == round(99 * stride)


def test_tiles_lie_inside_the_bounds_and_on_tissue():
    slide = slide_of(4000, 2000, 0.5, bounds=(1000, 200, 2000, 1500))
    mask = np.zeros((20, 40), bool)
    mask[:, :20] = True
    tiles = tile_grid(slide, tissue_of(slide, mask), TileSpec(tile_px=256, mpp=0.5))
    assert tiles[0].x == 1000
    assert tiles[0].y == 200
    assert {t.x for t in tiles} == {1000, 1256, 1512, 1768}
    assert max(t.y + t.height for t in tiles) <= 1700


def test_a_slide_smaller_than_a_tile_gives_none():
    slide = slide_of(200, 200, 0.5)
    assert tile_grid(slide, tissue_of(slide, np.ones((20, 20), bool)), TileSpec(tile_px=256, mpp=0.5)) == []


def test_upsampling_grid_is_refused_with_the_right_spec():
    slide = slide_of(4000, 2000, 0.5)
    with pytest.raises(SlideError, match=r"mpp=0\.5\)"):
        tile_grid(slide, tissue_of(slide, np.ones((20, 40), bool)), TileSpec(tile_px=256, mpp=0.25))
