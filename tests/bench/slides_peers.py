"""Run by `slides_bench.py` in the environment of another toolkit: the same tiles, read by it.

`python slides_peers.py lazyslide|tiatoolbox REQUEST.json` prints one JSON line. It imports nothing of ours.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np


def tiatoolbox(request: dict[str, Any]) -> Iterator[np.ndarray]:
    from tiatoolbox.wsicore.wsireader import WSIReader

    px, mpp = request["tile_px"], request["mpp"]
    reader = WSIReader.open(request["slide"], mpp=(request["slide_mpp"],) * 2)
    for xy in request["coords"]:
        yield np.asarray(reader.read_rect(location=tuple(xy), size=(px, px), resolution=mpp, units="mpp"))


def lazyslide(request: dict[str, Any]) -> Iterator[np.ndarray]:
    from wsidata import TileSpec, open_wsi
    from wsidata.io import add_tiles

    wsi = open_wsi(request["slide"], store=None)
    wsi.set_mpp(request["slide_mpp"])
    spec = TileSpec.from_wsidata(wsi, tile_px=request["tile_px"], mpp=request["mpp"])
    coords = np.array(request["coords"])
    add_tiles(wsi, "tiles", coords, spec, np.zeros(len(coords), int))
    for tile in wsi.iter.tile_images("tiles"):
        yield np.asarray(tile.image)


def main(name: str, path: str) -> None:
    with open(path) as handle:  # noqa: PTH123 - runs where only the toolkit is installed
        request = json.load(handle)
    tiles = {"lazyslide": lazyslide, "tiatoolbox": tiatoolbox}[name](request)
    first = next(tiles)  # opening the slide and imports are not counted
    began, cpu = time.perf_counter(), time.process_time()
    means, n = [first.mean((0, 1)).tolist()], 0
    for tile in tiles:
        n += 1
        if n % request["every"] == 0:
            means.append(tile.mean((0, 1)).tolist())
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tiles": n, "seconds": seconds, "cpu": spent, "peak_mb": peak, "means": means}))


if __name__ == "__main__":
    main(*sys.argv[1:])
