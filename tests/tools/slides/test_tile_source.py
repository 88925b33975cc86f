"""Tiles from the file's own JPEG tiles: OpenSlide's pixels, each file tile decoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

from pathagent_tools.slides.decoder import read_rgb
from pathagent_tools.slides.tile_worker import Job, TileSource

Pixels = NDArray[np.uint8]
JpegSlide = Callable[..., Path]
Corners = list[tuple[int, int]]
Open = Callable[..., TileSource]


@pytest.fixture
def opened() -> Iterator[Open]:
    """`opened(path, side, px, exact=True, direct=True)` → the source of such tiles, closed at the end."""
    sources: list[TileSource] = []

    def make(path: Path, side: int, px: int, *, exact: bool = True, direct: bool = True) -> TileSource:
        job = Job(side, px, px, exact=exact, direct=direct, batch=64, slots=1, memory_fd=-1)
        sources.append(TileSource(path, job))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def grid(source: TileSource, side: int) -> Corners:
    width, height = source.slide.dimensions
    return [(x, y) for y in range(0, height - side, side) for x in range(0, width - side, side)]


def read(source: TileSource, corners: Corners) -> Pixels:
    out = np.zeros((len(corners), source.job.tile_px, source.job.tile_px, 3), np.uint8)
    source.read([x for x, _ in corners], [y for _, y in corners], out)
    return out


def shown(path: Path, corners: Corners, side: int, px: int) -> Pixels:
    """What the guarded decoder, hence `Slide.read`, gives."""
    box = {"width": side, "height": side, "out_width": px, "out_height": px}
    with openslide.OpenSlide(str(path)) as slide:
        return np.stack([np.asarray(read_rgb(slide, {"x": x, "y": y, **box})) for x, y in corners])


@pytest.mark.parametrize("colours", ["ycbcr", "rgb"])
@pytest.mark.parametrize(("side", "px"), [(256, 256), (256, 128), (100, 100), (157, 112), (256, 64)])
def test_exact_tiles_are_those_of_slide_read(
    opened: Open, jpeg_slide: JpegSlide, colours: str, side: int, px: int
) -> None:
    path = jpeg_slide(colours=colours)
    source = opened(path, side, px)
    corners = grid(source, side)
    np.testing.assert_array_equal(read(source, corners), shown(path, corners, side, px))
    assert source.direct is not None and source.direct.decoded > 0
    assert source.by_openslide == 0


def test_an_exact_tile_between_the_pixels_of_a_level_is_openslides(
    opened: Open, jpeg_slide: JpegSlide
) -> None:
    path = jpeg_slide()
    source = opened(path, 256, 64)
    corners = [(4, 8), (6, 8)]
    np.testing.assert_array_equal(read(source, corners), shown(path, corners, 256, 64))
    assert source.by_openslide == 1


@pytest.mark.parametrize("side", [256, 240, 200])
def test_each_file_tile_is_decoded_once_however_the_grid_lies(
    opened: Open, jpeg_slide: JpegSlide, side: int
) -> None:
    source = opened(jpeg_slide(), side, side)
    corners = grid(source, side)
    for corner in corners:
        read(source, [corner])
    assert source.direct is not None and source.by_openslide == 0
    assert source.direct.decoded == np.prod(np.ceil((np.array(corners).max(0) + side) / 256))


def test_reduced_tiles_are_the_mean_of_openslides_pixels(opened: Open, jpeg_slide: JpegSlide) -> None:
    path = jpeg_slide(levels=1)
    source = opened(path, 256, 128, exact=False)
    general = opened(path, 256, 128, exact=False, direct=False)
    corners = grid(source, 256)
    native = shown(path, corners, 256, 256).astype(float)
    mean = native.reshape(-1, 128, 2, 128, 2, 3).mean((2, 4))
    assert np.abs(read(source, corners) - mean).mean((1, 2, 3)).max() <= 2
    assert np.abs(read(general, corners) - mean).max() <= 0.76
    assert source.by_openslide == 0 and general.by_openslide == len(corners)


@pytest.mark.parametrize("scale", [1.4, 2.0, 2.3, 4.0, 5.1])
def test_a_reduced_tile_lies_where_the_exact_one_lies(
    opened: Open, jpeg_slide: JpegSlide, scale: float
) -> None:
    """A tile that is off by one px differs by far more than averages do."""
    path, px = jpeg_slide(levels=1), 64
    side = round(scale * px)
    sources = [opened(path, side, px, exact=exact) for exact in (True, False)]
    corners = [(x + 1, y + 3) for x, y in grid(sources[0], side)[:-1]]
    exact, reduced = (read(source, corners).astype(int) for source in sources)
    one_px = np.abs(exact[:, :, 1:] - exact[:, :, :-1]).mean()
    assert np.abs(exact - reduced).mean() < 0.25 * one_px


def test_other_codecs_come_from_openslide_with_the_same_pixels(opened: Open, jpeg_slide: JpegSlide) -> None:
    path = jpeg_slide(codec="zlib")
    source = opened(path, 256, 128)
    corners = grid(source, 256)
    np.testing.assert_array_equal(read(source, corners), shown(path, corners, 256, 128))
    assert source.direct is None and source.by_openslide == len(corners)


def test_a_tile_without_bytes_is_what_openslide_shows(opened: Open, jpeg_slide: JpegSlide) -> None:
    path = jpeg_slide(levels=1)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        counts[7] = 0
        tiff.pages[0].tags["TileByteCounts"].overwrite(counts)
    source = opened(path, 128, 128)
    corners = grid(source, 128)
    np.testing.assert_array_equal(read(source, corners), shown(path, corners, 128, 128))
    assert source.by_openslide == 4 and source.direct is not None


def test_a_file_whose_colours_are_read_otherwise_is_left_to_openslide(
    opened: Open, jpeg_slide: JpegSlide
) -> None:
    """YCbCr tiles under a tag that says RGB: OpenSlide's word counts, whichever that is."""
    path = jpeg_slide(levels=1)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(2)
    source = opened(path, 256, 256)
    corners = grid(source, 256)
    np.testing.assert_array_equal(read(source, corners), shown(path, corners, 256, 256))


@pytest.mark.parametrize(
    ("name", "side", "px"),
    [
        ("wsi_small/cmu-1-small-region.svs", 256, 256),
        ("wsi_atlas/d02.tiff", 256, 256),
        ("wsi_atlas/d06.tiff", 300, 224),
    ],
)
def test_real_scans_are_read_directly(opened: Open, shared_data: Path, name: str, side: int, px: int) -> None:
    path = shared_data / name
    source = opened(path, side, px)
    corners = grid(source, side)[::3]
    np.testing.assert_array_equal(read(source, corners), shown(path, corners, side, px))
    assert source.by_openslide == 0


def test_a_real_scan_reduced_is_within_two_grey_levels(opened: Open, shared_data: Path) -> None:
    path = shared_data / "wsi_atlas/d01.tiff"
    corners = [(15872 + 256 * i, 10752 + 256 * j) for i in range(4) for j in range(4)]
    native = shown(path, corners, 256, 256).astype(float)
    source = opened(path, 256, 128, exact=False)
    source.level, source.down, source.reduction = 0, 1.0, 2  # as if the file had no smaller level
    mean = native.reshape(-1, 128, 2, 128, 2, 3).mean((2, 4))
    difference = np.abs(read(source, corners) - mean).mean((1, 2, 3))
    assert source.by_openslide == 0 and native.mean() < 225
    assert difference.max() <= 2
