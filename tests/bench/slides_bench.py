"""`make bench-slides`: tissue, coordinates, reading and encoding of whole slides, beside other toolkits.

Every figure is tiles per second of CPU time (all processes of a toolkit summed) and of wall time; on a busy
machine only the first can be compared. The others' imports and opening of the slide are left out; of ours
both are given, with the start of the reading processes and without. LazySlide and TIAToolbox read the same
tiles at the same mpp, each in an environment of its own under `.cache/bench-slides/`. The share of the JPEG
decoding limit is the CPU time that decoding each touched JPEG tile once takes (whole, in a loop that does
nothing else) over that of our reading.
Encoding is the embedded encoder, eager (open_clip in float32) and by the faster runtimes; then whole
`pathagent encode` commands on two phantoms, the larger of four times the area: what a further tile costs by
runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.slides import Slide, open_slide, tile_grid, tissue_mask
from pathagent_tools.slides.tile_reader import TileReader
from pathagent_tools.slides.tile_worker import Job, TileSource

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "bench-slides"
PEERS = {"lazyslide": "lazyslide==0.13.0", "tiatoolbox": "tiatoolbox==2.1.3"}
MEANS = 16
"""Tiles whose mean colours are compared, so that nobody reads something else faster."""

Row = dict[str, Any]


class Cost:
    """Wall and CPU seconds of a block, children that ended in it included."""

    def __enter__(self) -> Cost:
        self._wall, self._cpu = time.perf_counter(), self._spent()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu = time.perf_counter() - self._wall, self._spent() - self._cpu

    @staticmethod
    def _spent() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(used.ru_utime + used.ru_stime for used in both)


def row(what: str, tiles: int, cost: Cost | Row, **more: Any) -> Row:
    seconds, cpu = (cost.seconds, cost.cpu) if isinstance(cost, Cost) else (cost["seconds"], cost["cpu"])
    rates = {"per_cpu_s": round(tiles / max(cpu, 1e-9)), "per_s": round(tiles / max(seconds, 1e-9))}
    return {"what": what, "tiles": tiles, **rates, "cpu_s": round(cpu, 2), **more}


def ours(slide: Slide, coords: np.ndarray, spec: TileSpec, workers: int) -> tuple[list[Row], np.ndarray]:
    """Our reading with one process and with several, and the mean colour of every so many tiles."""
    every = max(1, len(coords) // MEANS)
    means = np.zeros((len(range(0, len(coords), every)), 3))
    with Cost() as start, TileReader(slide, coords[:1], spec) as reader:
        list(reader)
    rows = [row("pathagent, start of a process and one tile", 1, start)]
    for n, resampling in ((1, "reduced"), (workers, "reduced"), (1, "exact")):
        with Cost() as cost, TileReader(slide, coords, spec, workers=n, resampling=resampling) as reader:  # type: ignore[arg-type]
            for batch in reader:
                for i in np.flatnonzero(batch.indices % every == 0):
                    means[batch.indices[i] // every] = batch.tiles[i].mean((0, 1))
        took = {k: v for k, v in vars(reader.stats).items() if k in ("decoded", "by_openslide")}
        if n == 1:  # several start side by side: what that costs is not known
            took["per_cpu_s_without_start"] = round(len(coords) / max(cost.cpu - start.cpu, 1e-9))
        rows.append(row(f"pathagent, {n} process(es), {resampling}", len(coords), cost, **took))
    return rows, means


def decoding_limit(slide: Slide, coords: np.ndarray, spec: TileSpec) -> Row | None:
    """Decode each JPEG tile that the tiles touch once, and nothing else."""
    side = round(spec.size_level0(slide.mpp))
    source = TileSource(slide.path, Job(side, spec.tile_px, spec.tile_px, False, True, 1, 1, -1))
    source.read(
        [int(coords[0, 0])], [int(coords[0, 1])], np.empty((1, spec.tile_px, spec.tile_px, 3), np.uint8)
    )
    level = source.direct
    if level is None:
        return None
    corners = (coords / source.down).astype(int)
    far = np.minimum((coords + side) / source.down - 1e-6, (level.width - 1, level.height - 1)).astype(int)
    touched = {
        (column, row_)
        for (x0, y0), (x1, y1) in zip(corners, far, strict=True)
        for column in range(x0 // level.tile_width, x1 // level.tile_width + 1)
        for row_ in range(y0 // level.tile_height, y1 // level.tile_height + 1)
    }
    with Cost() as cost:
        for column, row_ in touched:
            level._decode(column, row_, 1)
    source.close()
    return row("decode each JPEG tile once, whole", len(touched), cost)


def peer(name: str, slide: Path, mpp: float, coords: np.ndarray, spec: TileSpec) -> tuple[Row, np.ndarray]:
    python = environment(name)
    every = max(1, len(coords) // MEANS)
    request = {
        "slide": str(slide), "slide_mpp": mpp, "tile_px": spec.tile_px, "mpp": spec.mpp,
        "coords": coords.tolist(), "every": every,
    }  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".json") as handle:
        json.dump(request, handle)
        handle.flush()
        done = subprocess.run(
            [python, str(HERE / "slides_peers.py"), name, handle.name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return row(name, found["tiles"], found, peak_mb=round(found["peak_mb"])), np.array(found["means"])


def environment(name: str) -> str:
    """The toolkit's own interpreter, made once. Its packages come from the package registry."""
    python = CACHE / name / "bin" / "python"
    if not python.is_file():
        uv = HERE.parents[1] / ".uv" / "bin" / "uv"
        subprocess.run([uv, "venv", "--python", "3.11", CACHE / name], check=True)
        subprocess.run(
            [uv, "pip", "install", "--python", python, PEERS[name], "openslide-bin", "openslide-python"],
            check=True,
        )
    return str(python)


def phantom(side_px: int) -> Path:
    """A phantom slide of that size, painted once."""
    folder = CACHE / f"phantom-{side_px}"
    path = folder / "slide.tiff"
    if not path.is_file():
        from pathagent_tools.phantom import world
        from pathagent_tools.phantom.slide import write_slide

        world.SIZE_PX["bench"], world._PIECES["bench"] = side_px, world._PIECES["large"]
        write_slide(world.make_phantom(77_000_000, "bench"), folder, name="slide", truth=False)  # type: ignore[arg-type]
    return path


def encoding(slide: Slide, coords: np.ndarray) -> list[Row]:
    """The embedded encoder by each runtime, reading left out."""
    import torch

    from pathagent_tools.encoders import runtimes
    from pathagent_tools.encoders.registry import load_encoder

    torch.set_num_threads(1)
    names = ["eager", *reversed(runtimes.faster_ones())]
    encoders = {name: load_encoder("embedded", runtime=name) for name in names}  # type: ignore[arg-type]
    spec = TileSpec(tile_px=128, mpp=1.0)
    some = coords[np.linspace(0, len(coords) - 1, min(512, len(coords))).astype(int)]
    with TileReader(slide, some, spec) as reader:
        tiles = np.concatenate([batch.tiles.copy() for batch in reader])
    rows: list[Row] = []
    wanted: np.ndarray | None = None
    for name, encoder in encoders.items():
        encoder.encode_tiles(tiles[:64])
        with Cost() as cost:
            got = encoder.encode_tiles(tiles)
        wanted = got if wanted is None else wanted
        cosine = (got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
        rows.append(row(f"encode, {name}", len(tiles), cost, disagreement=f"{1 - cosine.min():.1e}"))
    return rows


def whole_slides(large_px: int) -> Iterator[Row]:
    """`pathagent encode` of a phantom and of one of a quarter of its area, eager and by the fastest."""
    further: dict[str, float] = {}
    for runtime in ("eager", "auto"):
        measured = []
        for side in (large_px // 2, large_px):
            found = _encode(phantom(side), runtime)
            measured.append(found)
            yield {"what": f"pathagent encode, {side} px, {runtime}", **found}
        small, large = measured
        further[runtime] = (large["cpu_s"] - small["cpu_s"]) / (large["tiles"] - small["tiles"])
    faster = further["eager"] / further["auto"]
    yield {"what": "a further tile, read and encoded: auto faster than eager", "ratio": round(faster, 2)}


def _encode(slide: Path, runtime: str) -> Row:
    """Tiles, wall and CPU seconds of one command."""
    with tempfile.TemporaryDirectory() as out:
        command = ["encode", str(slide), "--encoder", "embedded", "--runtime", runtime, "-o", out]
        began = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "pathagent", *command], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"pathagent {' '.join(command)} failed")
        (state,) = [json.loads(f.read_text()) for f in Path(out).glob("wsi_states/*.json")]
    return {
        "tiles": state["tiles"],
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
    }


def bench(path: Path, mpp: float | None, px: int, tile_mpp: float, args: argparse.Namespace) -> Iterator[Row]:
    """Rows as they are measured."""
    with open_slide(path, mpp=mpp) as slide:
        with Cost() as cost:
            tissue = tissue_mask(slide)
        yield {"what": "tissue", "seconds": round(cost.seconds, 2), "cpu_s": round(cost.cpu, 2)}
        spec = TileSpec(tile_px=px, mpp=tile_mpp or slide.mpp)
        with Cost() as cost:
            regions = tile_grid(slide, tissue, spec)
        coords = np.array([(r.x, r.y) for r in regions], np.int64).reshape(-1, 2)
        yield row("coordinates", len(coords), cost)
        read, means = ours(slide, coords, spec, args.workers)
        yield from read
        children, own = (
            resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
        )
        yield {"what": "peak MB so far", "this process": own // 1024, "largest child": children // 1024}
        if limit := decoding_limit(slide, coords, spec):
            yield limit
            yield {
                "what": "share of the decoding limit",
                "share": round(limit["cpu_s"] / read[0]["cpu_s"], 2),
            }
        for name in args.peers:
            found, theirs = peer(name, path, slide.mpp, coords, spec)
            apart = np.abs(means[: len(theirs)] - theirs[: len(means)]).mean()
            ratio = read[1]["per_cpu_s_without_start"] / found["per_cpu_s"]
            yield {**found, "mean_colour_apart": round(float(apart), 2), "ours_faster": round(ratio, 1)}
        if args.encode:
            grid = tile_grid(slide, tissue, TileSpec(tile_px=128, mpp=1.0))
            yield from encoding(slide, np.array([(r.x, r.y) for r in grid], np.int64))


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slide", type=Path, help="default: the largest of PATHAGENT_TEST_DATA")
    parser.add_argument("--mpp", type=float, default=0.526036)
    parser.add_argument("--phantom-px", type=int, default=30_000, help="0: no phantom")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    parser.add_argument("--encode", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    work: list[tuple[Path, float | None, int, float]] = []
    data = os.environ.get("PATHAGENT_TEST_DATA")
    real = args.slide or (Path(data) / "wsi_atlas/d01.tiff" if data else None)
    if real is not None:
        work.append((real, args.mpp, 256, 0.0))
    if args.phantom_px:
        work.append((phantom(args.phantom_px), None, 256, 0.5))
        work.append((phantom(args.phantom_px), None, 128, 1.0))
    for path, mpp, px, tile_mpp in work:
        print(f"\n{path.name}: tiles of {px} px at {tile_mpp or mpp} µm/px")
        for line in bench(path, mpp, px, tile_mpp, args):
            print("  " + json.dumps(line, ensure_ascii=False), flush=True)
    if args.phantom_px and args.encode:
        print("\nwhole commands")
        for line in whole_slides(args.phantom_px):
            print("  " + json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
