"""A phantom as a slide file: tiled pyramidal TIFF that OpenSlide reads like an Aperio scan."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.phantom.camera import Image, jpeg_bytes, shrink
from pathagent_tools.phantom.world import LEVEL0_MPP, Phantom

TILE_PX = 256
_STRIP_PX = 1024
_DOWNSAMPLE = 4
_LEVELS = 3


def write_slide(phantom: Phantom, folder: Path, *, name: str, truth: bool = True) -> Path:
    """Write `folder/name.tiff` and, with `truth`, `folder/truth.json`; returns the path of the TIFF.

    Three levels (0.5, 2, 8 µm/px), 256 px JPEG tiles, painted strip by strip. The file is renamed into
    place when it is whole. Nothing in it tells seed, diagnosis or lesion. Same seed, same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.tiff"
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as scratch:
        part = Path(scratch) / "slide.tiff"
        _write_tiff(phantom, part, Path(scratch) / "level.raw")
        if truth:
            write_truth(phantom, folder)
        part.replace(path)
    return path


def write_truth(phantom: Phantom, folder: Path) -> Path:
    """Write `folder/truth.json` with the reference report and the questions; returns its path."""
    from pathagent_tools.phantom.questions import questions
    from pathagent_tools.phantom.reports import reference_report, wording_count
    from pathagent_tools.phantom.truth import truth_of

    bare = truth_of(phantom)
    full = bare.model_copy(
        update={
            "reports": tuple(reference_report(bare, i) for i in range(wording_count())),
            "questions": tuple(q.model_dump() for q in questions(bare)),
        }
    )
    path = folder / "truth.json"
    write_text_atomic(path, full.model_dump_json(indent=1) + "\n")
    return path


def _write_tiff(phantom: Phantom, path: Path, scratch: Path) -> None:
    import tifffile

    side = phantom.size_px
    half = side // _DOWNSAMPLE
    store: NDArray[np.uint8] = np.memmap(scratch, np.uint8, "w+", shape=(half, half, 3))
    quality = phantom.scanner.jpeg_quality
    with tifffile.TiffWriter(path, bigtiff=False) as tiff:
        _add(tiff, _level0_tiles(phantom, store), side, quality, _description(side), level=0)
        lower: Image = store
        for level in range(1, _LEVELS):
            size = lower.shape[0]
            _add(tiff, _tiles(lower), size, quality, _description(side, size), level=level)
            lower = shrink(lower, _DOWNSAMPLE)
    del store


def _add(
    tiff: object, tiles: Iterator[Image], side: int, quality: int, description: str, *, level: int
) -> None:
    tiff.write(  # type: ignore[attr-defined]
        (jpeg_bytes(tile, quality) for tile in tiles),
        shape=(side, side, 3),
        dtype=np.uint8,
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        tile=(TILE_PX, TILE_PX),
        subfiletype=1 if level else 0,
        description=description,
        metadata=None,
        datetime=None,
        software=False,
    )


def _description(side: int, level_side: int | None = None) -> str:
    """Aperio header: OpenSlide takes resolution and objective from it."""
    shape = f"{side}x{side} [0,0 {side}x{side}] ({TILE_PX}x{TILE_PX}) JPEG/RGB"
    if level_side is not None:
        shape = f"{side}x{side} -> {level_side}x{level_side} JPEG/RGB"
    return f"Aperio Image Library v12.0.0\n{shape}|AppMag = 20|MPP = {LEVEL0_MPP}"


def _level0_tiles(phantom: Phantom, store: NDArray[np.uint8]) -> Iterator[Image]:
    """Level-0 tiles in file order; fills `store` with the next level on the way."""
    side = phantom.size_px
    for top in range(0, side, _STRIP_PX):
        height = min(_STRIP_PX, side - top)
        strip = np.empty((height, side, 3), np.uint8)
        for left in range(0, side, _STRIP_PX):
            width = min(_STRIP_PX, side - left)
            box = tuple(v * LEVEL0_MPP for v in (left, top, width, height))
            strip[:, left : left + width] = phantom.render((box[0], box[1], box[2], box[3]), LEVEL0_MPP)
        store[top // _DOWNSAMPLE : (top + height) // _DOWNSAMPLE] = shrink(strip, _DOWNSAMPLE)
        yield from _tiles(strip)


def _tiles(image: Image) -> Iterator[Image]:
    """256 px tiles of an array in file order, the last ones padded with their edge."""
    for i in range(0, image.shape[0], TILE_PX):
        for j in range(0, image.shape[1], TILE_PX):
            tile = np.asarray(image[i : i + TILE_PX, j : j + TILE_PX])
            pad = ((0, TILE_PX - tile.shape[0]), (0, TILE_PX - tile.shape[1]), (0, 0))
            yield np.pad(tile, pad, mode="edge") if any(p[1] for p in pad) else np.ascontiguousarray(tile)
