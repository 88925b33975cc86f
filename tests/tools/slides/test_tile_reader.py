"""Tiles as a stream of batches: each once, from several processes, and what damage does to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pathagent_tools.core.errors import DamagedSlideError, SlideTimeoutError
from pathagent_tools.core.geometry import Region, TileSpec
from pathagent_tools.slides import Limits, Slide, open_slide, tissue_mask
from pathagent_tools.slides.tile_reader import CHUNK, TileReader

JpegSlide = Callable[..., Path]
SMALL = TileSpec(tile_px=16, mpp=0.5)
"""Tiles so small that the slide has several chunks of them."""


def grid(slide: Slide, spec: TileSpec) -> NDArray[np.int64]:
    xs, ys = (spec.origins(n, slide.mpp) for n in (slide.width, slide.height))
    return np.array([(x, y) for y in ys for x in xs], np.int64)


def test_several_processes_give_each_tile_once_with_the_pixels_of_the_slide(jpeg_slide: JpegSlide) -> None:
    with open_slide(jpeg_slide()) as slide:
        coords = grid(slide, SMALL)
        found, seen = np.zeros((len(coords), 16, 16, 3), np.uint8), np.zeros(len(coords), int)
        with TileReader(slide, coords, SMALL, workers=3) as reader:
            for batch in reader:
                found[batch.indices] = batch.tiles
                seen[batch.indices] += 1
        assert reader.chunks > 3 and (seen == 1).all()
        assert reader.stats.tiles == len(coords) and reader.stats.by_openslide == 0
        for i in range(0, len(coords), 997):
            x, y = (int(v) for v in coords[i])
            region = Region(slide=slide.id, x=x, y=y, width=16, height=16, mpp=0.5)
            np.testing.assert_array_equal(found[i], slide.read(region))


def test_chunks_that_are_done_are_not_read_again(jpeg_slide: JpegSlide) -> None:
    with open_slide(jpeg_slide()) as slide, TileReader(slide, grid(slide, SMALL), SMALL, workers=2) as reader:
        chunks = {batch.chunk for batch in reader.batches(done={0, 2})}
        assert chunks == set(range(reader.chunks)) - {0, 2}
        assert reader.stats.tiles == len(reader.coords) - 2 * CHUNK


def test_transparent_borders_are_white_and_no_tissue(jpeg_slide: JpegSlide) -> None:
    """Tiles that a scanner left out are transparent; shown without their background they would be black."""
    path = jpeg_slide(levels=1)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = np.array(tiff.pages[0].databytecounts).reshape(5, 6)
        counts[:, 0] = counts[0] = 0
        tiff.pages[0].tags["TileByteCounts"].overwrite(counts.ravel().tolist())
    border, inner, spec = [0, 512], [512, 512], TileSpec(tile_px=256, mpp=0.5)
    with open_slide(path) as slide, TileReader(slide, np.array([border, inner]), spec) as reader:
        (batch,) = reader
        assert (batch.tiles[0] == 255).all() and batch.tiles[1].mean() < 240
        boxes = np.array([[*border, 224, 224], [*inner, 256, 256]])
        np.testing.assert_allclose(tissue_mask(slide).fractions(boxes), [0, 1], atol=0.02)


def test_no_tiles_need_no_process(jpeg_slide: JpegSlide) -> None:
    with open_slide(jpeg_slide()) as slide:
        assert list(TileReader(slide, np.empty((0, 2), np.int64), SMALL)) == []


def test_a_damaged_tile_ends_as_one_sentence(jpeg_slide: JpegSlide) -> None:
    path = jpeg_slide(levels=1)
    with tifffile.TiffFile(path) as tiff:
        at, count = tiff.pages[0].dataoffsets[8], tiff.pages[0].databytecounts[8]
    with path.open("r+b") as handle:
        handle.seek(at)
        handle.write(b"\0" * count)
    spec, wanted = TileSpec(tile_px=256, mpp=0.5), r"slide\.tiff is damaged: .*again"
    with (
        open_slide(path) as slide,
        TileReader(slide, grid(slide, spec), spec) as reader,
        pytest.raises(DamagedSlideError, match=wanted),
    ):
        list(reader)


def test_a_process_that_is_killed_ends_as_one_sentence(jpeg_slide: JpegSlide) -> None:
    with (
        open_slide(jpeg_slide()) as slide,
        TileReader(slide, grid(slide, SMALL), SMALL) as reader,
        pytest.raises(DamagedSlideError, match=r"broke its decoder while reading tiles \(signal SIGKILL"),
    ):
        for _ in reader:
            os.kill(reader._workers[0].child.pid, signal.SIGKILL)


def test_a_process_that_hangs_is_stopped(jpeg_slide: JpegSlide) -> None:
    with open_slide(jpeg_slide()) as slide:
        slow = Limits(seconds=2)
        with TileReader(slide, grid(slide, SMALL), SMALL) as reader:
            with pytest.raises(SlideTimeoutError, match="took longer than 2 s"):
                for _ in reader:
                    slide._reader.limits = slow
                    os.kill(reader._workers[0].child.pid, signal.SIGSTOP)
            child = reader._workers[0].child
        assert child.returncode == -signal.SIGKILL
