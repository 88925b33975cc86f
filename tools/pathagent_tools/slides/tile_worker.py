"""The child process that reads tiles: `python -m pathagent_tools.slides.tile_worker FD FILE MB JOB`.

It is asked for batches of tiles in JSON and puts their pixels into memory that it shares with its parent,
so a tile is never copied through a pipe. Like `decoder` it limits its own address space; a file that
aborts it takes only this process along.
"""

from __future__ import annotations

import json
import math
import mmap
import resource
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from pathagent_tools.slides.decoder import BLOCK_PX, flatten, level_for, read_rgb
from pathagent_tools.slides.jpeg_tiles import JpegLevel, open_level, reduction_for

PROBES: Final = 3
"""Tiles compared with OpenSlide before the direct reader is used."""
Pixels = NDArray[np.uint8]
_BICUBIC: Final = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Job:
    """What every tile of a slide has in common.

    side: of a tile in level-0 px. out: its side at the wanted mpp, from which it is fitted to `tile_px`.
    exact: the pixels of `Slide.read`; else detail is first averaged by 2, 4 or 8 (by the decoder where it
    can). direct: take the file's own JPEG tiles where they can be taken. slots: batches in shared memory.
    """

    side: int
    out: int
    tile_px: int
    exact: bool
    direct: bool
    batch: int
    slots: int
    memory_fd: int

    def pixels(self) -> Pixels:
        """The shared memory as uint8 [slots, batch, tile_px, tile_px, 3]."""
        shape = (self.slots, self.batch, self.tile_px, self.tile_px, 3)
        memory = mmap.mmap(self.memory_fd, math.prod(shape))
        return np.frombuffer(memory, np.uint8).reshape(shape)


class TileSource:
    """Tiles of one open slide by their level-0 corner."""

    def __init__(self, path: Path, job: Job) -> None:
        self.path, self.job = path, job
        self.slide = openslide.OpenSlide(str(path))
        scale = job.side / job.out
        self.level = level_for(self.slide, scale)
        self.down = float(self.slide.level_downsamples[self.level])
        self.reduction = 1 if job.exact else reduction_for(scale / self.down)
        self.direct: JpegLevel | None = None
        self.by_openslide = 0
        self._looked = not job.direct

    def read(self, xs: list[int], ys: list[int], out: Pixels) -> None:
        """Fill `out` [N, tile_px, tile_px, 3] with the tiles at those corners."""
        if not self._looked:
            near = [(int(xs[i] / self.down), int(ys[i] / self.down)) for i in _spread(len(xs))]
            self.direct = open_level(self.slide, self.path, self.level, near)
            self._looked = True
        for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
            if self._whole_file_tile(x, y, out[i]):
                continue
            tile = self._directly(x, y) if self.direct is not None else None
            if tile is None:
                self.by_openslide += 1
                tile = self._by_openslide(x, y)
            out[i] = tile

    def close(self) -> None:
        """Close the files."""
        self.slide.close()
        if self.direct is not None:
            self.direct.close()

    def _whole_file_tile(self, x: int, y: int, out: Pixels) -> bool:
        """Where the tile is just one of the file's, decode that into `out`."""
        if self.direct is None:
            return False
        side, px = self.job.side / self.down, self.job.tile_px * self.reduction
        if not side == px == self.direct.tile_width == self.direct.tile_height:
            return False
        lx, ly = x / self.down, y / self.down
        if lx % px or ly % px or lx + px > self.direct.width or ly + px > self.direct.height:
            return False
        return self.direct.decode_into(int(lx // px), int(ly // px), self.reduction, out)

    def _directly(self, x: int, y: int) -> Pixels | None:
        """From the file's JPEG tiles; None where OpenSlide has to say what is there."""
        assert self.direct is not None
        lx, ly, side = x / self.down, y / self.down, self.job.side / self.down
        r = self.reduction
        if r == 1:
            if self.job.exact and not (lx.is_integer() and ly.is_integer()):
                return None
            pixels = self.direct.shifted(lx, ly, *(max(1, math.ceil(side - 1e-6)),) * 2)
            return None if pixels is None else self._fitted(pixels, (0.0, 0.0), side)
        left, top = math.floor(lx / r + 1e-6), math.floor(ly / r + 1e-6)
        inset = max(0.0, lx / r - left), max(0.0, ly / r - top)
        size = [max(1, math.ceil(more + side / r - 1e-6)) for more in inset]
        pixels = self.direct.area(left, top, size[0], size[1], r)
        return None if pixels is None else self._fitted(pixels, inset, side / r)

    def _by_openslide(self, x: int, y: int) -> Pixels:
        job, side = self.job, self.job.side / self.down
        size = max(1, math.ceil(side - 1e-6))
        if job.exact or size > BLOCK_PX:
            request = {"x": x, "y": y, "width": job.side, "height": job.side}
            image = read_rgb(self.slide, request | {"out_width": job.out, "out_height": job.out})
            return _resized(image, None, job.tile_px)
        image = flatten(self.slide.read_region((x, y), self.level, (size, size)), self.slide)
        if self.reduction > 1:
            image = image.reduce(self.reduction)
        edge = min(side / self.reduction, *image.size)
        return _resized(image, (0, 0, edge, edge), job.tile_px)

    def _fitted(self, pixels: Pixels, inset: tuple[float, float], side: float) -> Pixels:
        """A square of `side` px that starts `inset` px into `pixels`, at the size of a tile."""
        px, (height, width) = self.job.tile_px, pixels.shape[:2]
        moved = max(inset) > 1e-3
        if self.job.exact and self.job.out != px:  # as Slide.read gives it, then fitted
            once = pixels
            if (height, width) != (self.job.out,) * 2:
                once = _resized(Image.fromarray(pixels), (0, 0, side, side), self.job.out)
            return _resized(Image.fromarray(once), None, px)
        if (height, width) == (px, px) and not moved:
            return pixels
        right, bottom = min(inset[0] + side, width), min(inset[1] + side, height)
        return _resized(Image.fromarray(pixels), (*inset, right, bottom), px)


def _resized(image: Image.Image, box: tuple[float, float, float, float] | None, px: int) -> Pixels:
    if image.size != (px, px) or (box is not None and box != (0, 0, px, px)):
        image = image.resize((px, px), _BICUBIC, box=box)
    return np.asarray(image, np.uint8)


def _spread(n: int) -> list[int]:
    """Up to `PROBES` indices of `n`, first and last among them."""
    return sorted({round(i) for i in np.linspace(0, n - 1, PROBES)})


def main(argv: list[str]) -> None:
    """Serve batches until the pipe is closed."""
    fd, path, memory_mb, job = int(argv[0]), Path(argv[1]), int(argv[2]), Job(**json.loads(argv[3]))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe = Connection(fd)
    memory = job.pixels()
    source: TileSource | None = None
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        answer: dict[str, Any] = {"slot": request["slot"]}
        try:
            source = source or TileSource(path, job)
            xs, ys = request["xs"], request["ys"]
            source.read(xs, ys, memory[request["slot"], : len(xs)])
            answer |= {
                "by_openslide": source.by_openslide,
                "decoded": 0 if source.direct is None else source.direct.decoded,
            }
        except (openslide.OpenSlideError, OSError, ValueError) as error:
            source = None
            answer["error"] = str(error)
        except MemoryError:
            source = None
            answer |= {"error": f"it needs more than {memory_mb} MB to decode", "memory": True}
        pipe.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
