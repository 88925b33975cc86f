"""A region shows the tissue it names, at the scale it names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from pathagent_tools.core.errors import SlideError
from pathagent_tools.core.geometry import Region, TileSpec
from pathagent_tools.slides import open_slide


@pytest.mark.parametrize("mpp", [0.23, 0.25, 0.265, 0.30, 0.4955])
def test_tile_covers_128_um_on_every_scanner(write_slide, ramp, mpp):
    with open_slide(write_slide(ramp, mpp=mpp)) as slide:
        side = round(TileSpec(tile_px=256, mpp=0.5).size_level0(slide.mpp))
        picture = slide.read(Region(slide="S1", x=40, y=20, width=side, height=side, mpp=0.5))
        assert picture.shape == (256, 256, 3)
        assert side * slide.mpp == pytest.approx(128, abs=slide.mpp / 2 + 1e-6)
        left, right = picture[:, 2, 0].mean(), picture[:, -3, 0].mean()
        scale = 0.5 / mpp
        assert left == pytest.approx((40 + 2.5 * scale) * 255 / 900, abs=1.5)
        assert right == pytest.approx((40 + side - 2.5 * scale) * 255 / 900, abs=1.5)


def test_upsampling_is_refused_beyond_two_percent(write_slide, ramp):
    region = Region(slide="S1", x=0, y=0, width=100, height=100, mpp=0.495)
    with open_slide(write_slide(ramp, mpp=0.5)) as slide:
        assert slide.read(region).shape == (101, 101, 3)
        with pytest.raises(SlideError, match="Up-sampling is not supported"):
            slide.read(region.model_copy(update={"mpp": 0.25}))


def test_beyond_the_canvas_is_white(write_slide, ramp):
    with open_slide(write_slide(ramp)) as slide:
        picture = slide.read(Region(slide="S1", x=850, y=550, width=100, height=100, mpp=0.5))
    assert (picture[60:, 60:] == 255).all()
    assert (picture[:40, :40, 2] == 128).all()


def test_region_of_another_slide_is_refused(write_slide, ramp):
    with open_slide(write_slide(ramp), slide_id="S2") as slide, pytest.raises(SlideError, match="S1"):
        slide.read(Region(slide="S1", x=0, y=0, width=10, height=10, mpp=0.5))


def test_single_level_slide_is_shrunk_in_blocks_without_seams(write_slide):
    random = np.random.default_rng(0)
    coarse = random.integers(60, 250, (40, 700, 3), np.uint8)
    rgb = np.asarray(Image.fromarray(coarse).resize((9800, 560), Image.Resampling.BICUBIC))
    with open_slide(write_slide(rgb)) as slide:
        picture, per_px = slide.thumbnail(1400)
    whole = np.asarray(Image.fromarray(rgb).resize((1400, 80), Image.Resampling.BICUBIC))
    assert per_px == pytest.approx(7)
    assert np.abs(picture.astype(int) - whole).max() <= 2


def test_threads_share_one_slide(write_slide, ramp):
    regions = [Region(slide="S1", x=60 * i, y=30, width=60, height=60, mpp=1.0) for i in range(12)]
    with open_slide(write_slide(ramp)) as slide:
        alone = slide.read_many(regions)
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(slide.read, regions))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_closed_slide_says_how_to_go_on(write_slide, ramp):
    slide = open_slide(write_slide(ramp))
    slide.close()
    with pytest.raises(SlideError, match="open_slide"):
        slide.thumbnail(32)
