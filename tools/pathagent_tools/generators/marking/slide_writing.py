"""The way out for large fields: a pyramidal TIFF, marked strip by strip, in memory that follows one strip.

Every block of the strips carries the watermark, bands run across the picture every `BAND_EVERY` px, the
TIFF's XMP tag names the digital source type, and the signed manifest lies beside the file (`NAME.c2pa`),
because signing inside a TIFF of several levels would move its tiles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import PathAgentError
from pathagent_tools.core.files import sha256_file
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.synthetic import SyntheticImage
from pathagent_tools.generators.marking import band, provenance, watermark, xmp
from pathagent_tools.generators.marking.verify import verify
from pathagent_tools.generators.marking.writing import FOLDER, PREFIX, Origin

TILE: Final = 256
STRIP: Final = 512
BAND_EVERY: Final = 1024
LEVELS: Final = 3
STEP: Final = 4
_QUALITY: Final = 88


def write_synthetic_slide(
    rows: Iterator[Image], shape: tuple[int, int], mpp: float, folder: Path, name: str, origin: Origin
) -> SyntheticImage:
    """Write `folder/synthetic/synthetic_NAME.tiff` and its manifest from strips `rows` of a field (h, w).

    Both are renamed into place when they are whole and every mark was found again; else nothing stays.
    """
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"{PREFIX}{name}.tiff"
    with tempfile.TemporaryDirectory(dir=target, prefix=f".{name}.") as scratch:
        part = Path(scratch) / path.name
        _write(rows, shape, mpp, part, Path(scratch) / "level.raw", xmp.packet(origin.model_dump()))
        manifest = provenance.manifest_for(
            part, "image/tiff", title=origin.title, made_by=version("pathagent"), record=origin.model_dump()
        )
        beside = part.with_name(f"{part.name}.c2pa")
        beside.write_bytes(manifest)
        marks = verify(part)
        missing = [m for m in ("band", "watermark", "metadata", "manifest") if m not in marks.found]
        if missing:
            raise PathAgentError(
                f"The field was not written: its {', '.join(missing)} could not be read again."
            )
        beside.replace(path.with_name(f"{path.name}.c2pa"))
        part.replace(path)
    return SyntheticImage(
        id="G1", file=path.name, sha256=sha256_file(path), marks=marks.found, width=shape[1], height=shape[0],
        **origin.model_dump(),
    )  # fmt: skip


def _write(
    rows: Iterator[Image], shape: tuple[int, int], mpp: float, path: Path, scratch: Path, packet: str
) -> None:
    import tifffile

    h, w = shape
    lower: NDArray[np.uint8] = np.memmap(scratch, np.uint8, "w+", shape=(h // STEP, w // STEP, 3))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tags = [(700, "B", None, packet.encode(), True)]
        _add(tiff, _marked_tiles(_strips(rows, h), lower), shape, _description(shape, mpp), tags, level=0)
        for level in range(1, LEVELS):
            size = lower.shape[:2]
            if min(size) < TILE // STEP:
                break
            _add(tiff, _tiles(lower), size, _description(shape, mpp, size), [], level=level)
            lower = _shrunk(lower)


def _add(
    tiff: Any,
    tiles: Iterator[Image],
    shape: tuple[int, ...],
    description: str,
    tags: list[Any],
    *,
    level: int,
) -> None:
    tiff.write(
        (_jpeg(tile) for tile in tiles),
        shape=(*shape[:2], 3),
        dtype=np.uint8,
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        tile=(TILE, TILE),
        subfiletype=1 if level else 0,
        description=description,
        extratags=tags,
        metadata=None,
        software=False,
    )


def _strips(rows: Iterator[Image], height: int) -> Iterator[Image]:
    """The rows again, in strips of `STRIP` px."""
    waiting: list[Image] = []
    have = done = 0
    for part in rows:
        waiting.append(part)
        have += len(part)
        while have >= STRIP or (have and done + have == height):
            whole = np.concatenate(waiting)
            yield whole[:STRIP]
            done += min(STRIP, len(whole))
            waiting, have = [whole[STRIP:]], max(0, len(whole) - STRIP)


def _marked_tiles(strips: Iterator[Image], lower: NDArray[np.uint8]) -> Iterator[Image]:
    """Level-0 tiles in file order, marked; fills `lower` with the next level on the way."""
    top = 0
    for strip in strips:
        marked = strip.copy()
        if top % BAND_EVERY == 0:
            marked[: band.HEIGHT] = band.band(marked.shape[1])
        marked = watermark.embed_lightly(marked)
        small = _shrunk(marked)
        lower[top // STEP : top // STEP + len(small)] = small
        top += len(strip)
        yield from _tiles(marked)


def _shrunk(image: Image) -> Image:
    import cv2

    size = (image.shape[1] // STEP, image.shape[0] // STEP)
    cut = np.ascontiguousarray(image[: size[1] * STEP, : size[0] * STEP])
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA))


def _tiles(image: Image) -> Iterator[Image]:
    """Tiles in file order, the last ones padded with their edge."""
    for i in range(0, image.shape[0], TILE):
        for j in range(0, image.shape[1], TILE):
            tile = np.asarray(image[i : i + TILE, j : j + TILE])
            pad = ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0))
            yield np.pad(tile, pad, mode="edge") if any(p[1] for p in pad) else np.ascontiguousarray(tile)


def _jpeg(tile: Image) -> bytes:
    import io

    from PIL import Image as Pil

    buffer = io.BytesIO()
    Pil.fromarray(tile).save(buffer, "JPEG", quality=_QUALITY, subsampling=2)
    return buffer.getvalue()


def _description(shape: tuple[int, int], mpp: float, level: tuple[int, ...] | None = None) -> str:
    """Aperio's header, from which OpenSlide takes the resolution, and what the picture is."""
    h, w = shape
    size = f"{w}x{h} [0,0 {w}x{h}] ({TILE}x{TILE})" if level is None else f"{w}x{h} -> {level[1]}x{level[0]}"
    return (
        f"Aperio Image Library v12.0.0\n{size} JPEG/RGB|AppMag = {10 / mpp:g}|MPP = {mpp}|Note = {band.TEXT}"
    )
