"""What a generator costs and what its marks withstand: `make bench-generators`.

Seconds of CPU, peak memory, read-back and kernel distance at 4, 8, 12, 16 and 50 steps; then marks on images,
after JPEG 75, a tenth cut from each side and three quarters of the size, and false alarms on phantoms and,
with PATHAGENT_TEST_DATA, on tiles of real slides. `--only field`: large fields, a process each, their peak
memory and the gradients where windows meet beside those inside them; it takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pathagent_finetune.generator_eval import seconds_and_memory
from pathagent_finetune.generator_store import open_store, shards_of
from pathagent_finetune.real_tiles import slide_tiles
from pathagent_finetune.tilestore import TileSet, in_processes
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.conditions import Conditions
from pathagent_tools.generators.marking import watermark
from pathagent_tools.generators.marking.band import has_band, with_band
from pathagent_tools.generators.marking.slide_writing import write_synthetic_slide
from pathagent_tools.generators.marking.writing import Origin
from pathagent_tools.generators.registry import load_generator
from pathagent_tools.generators.sampling import Sampling
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.tasks.large_field import ScaledLayout
from pathagent_tools.generators.tasks.layouts import OVERLAP, field_rows
from pathagent_tools.phantom.field import sample_field

STEPS = (4, 8, 12, 16, 50)
SIDES = (1024, 4096)
SCALE = 8
BLOBS = (2, 2, 4, 6, 7)
TREATMENTS = ("JPEG 75", "10 % cut from each side", "0.75 x")


def marks(n: int, unmarked: int) -> dict[str, Any]:
    """Watermarks on `n` fields of 256 px: found, found after each treatment, refused; and false alarms.

    unmarked: fields, the marked ones among them, that are looked at before anything is written into them.
    """
    found, after, refused, bits = 0, dict.fromkeys(TREATMENTS, 0), 0, []
    for seed in range(max(n, unmarked)):
        image = sample_field(70_000 + seed, px=256, mpp=1.0, partner="stain").image
        bits.append(watermark.matches(image))
        if seed >= n:
            continue
        try:
            marked = watermark.embed(with_band(image))
        except UserError:
            refused += 1
            continue
        found += watermark.matches(marked) >= watermark.FOUND and has_band(marked)
        for name, treated in zip(TREATMENTS, watermark.treatments(marked), strict=True):
            after[name] += watermark.matches(treated) >= watermark.FOUND
    return {
        "images": n, "refused as too plain": refused, "marked": n - refused, "found": found, "after": after,
        "phantoms": len(bits), "false alarms on phantoms": sum(b >= watermark.FOUND for b in bits),
        "highest bits": max(bits),
    }  # fmt: skip


def false_alarms(data: Path, n: int) -> dict[str, Any]:
    """Tiles of real slides on which a mark is found."""
    tiles = slide_tiles(data, 256, n)
    bits = [watermark.matches(tile) for tile in tiles]
    bands = sum(has_band(tile) for tile in tiles)
    alarms = sum(b >= watermark.FOUND for b in bits)
    return {"real tiles": len(tiles), "watermarks": alarms, "bands": bands, "highest bits": max(bits)}


def field(generator: str, side: int, steps: int) -> dict[str, Any]:
    """A field of `side` px from blobs of tissue: seconds, peak memory, gradient energy at window borders."""
    import resource

    sampling = Sampling(steps=steps)
    studio, started = Studio(load_generator(generator), sampling=sampling), time.process_time()
    layouts = ScaledLayout(_blobs(side // SCALE), SCALE)
    seams = Seams(2 * studio.generator.px - OVERLAP)
    rows = seams.watched(field_rows(studio, Conditions(), layouts, side, side, seed=1))
    origin = Origin(
        task="field", title="bench", reason="bench", request={}, seed=1,
        generator=studio.generator.id, revision=studio.generator.revision,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        record = write_synthetic_slide(rows, (side, side), 1.0, Path(folder), "field", origin)
    return {
        "side": side,
        "steps": steps,
        "cpu_seconds": round(time.process_time() - started),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **seams.ratios(),
        "marks": record.marks,
    }


class Seams:
    """Sums squared steps between neighbouring pixels, by column and by row, as strips pass by.

    step: px from one window to the next; windows share the first `OVERLAP` px of each.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        self.columns: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []
        self._last: np.ndarray | None = None

    def watched(self, strips: Iterator[Image]) -> Iterator[Image]:
        """The strips, unchanged."""
        for strip in strips:
            grey = strip.astype(np.float32).mean(-1)
            self.columns.append((np.diff(grey, axis=1) ** 2).sum(0))
            if self._last is not None:
                grey = np.concatenate([self._last, grey])
            self.rows.append((np.diff(grey, axis=0) ** 2).mean(1))
            self._last = grey[-1:]
            yield strip

    def ratios(self) -> dict[str, float]:
        """Energy where windows meet over that inside them: the mean, and the worst line of either."""
        out = {}
        for name, energy in (("columns", np.sum(self.columns, 0)), ("rows", np.concatenate(self.rows))):
            place = np.arange(len(energy))
            border = (place >= self.step) & (place % self.step < OVERLAP)
            for what, of in (("mean", np.mean), ("worst", np.max)):
                ratio = float(of(energy[border]) / of(energy[~border]))
                out[f"{name}_{what}_border_to_{what}_interior"] = round(ratio, 3)
        return out


def _blobs(side: int) -> np.ndarray:
    """[side, side] class numbers: smooth patches of five tissues."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(1)
    heights = [gaussian_filter(rng.standard_normal((side, side)), 8, mode="wrap") for _ in BLOBS]
    return np.array(BLOBS, np.uint8)[np.argmax(heights, 0)]


def main() -> None:
    """Run the parts that were asked for and print one JSON document each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="embedded")
    parser.add_argument("--fields", type=Path, help="where test fields are rendered and kept")
    parser.add_argument("--n", type=int, default=26, help="images for each number of steps")
    parser.add_argument("--marks", type=int, default=40, help="images that are marked")
    parser.add_argument("--unmarked", type=int, help="phantoms and real tiles looked at; default: --marks")
    parser.add_argument("--field-steps", type=int, default=Sampling().steps, help="steps of large fields")
    parser.add_argument("--only", choices=("steps", "marks", "field"))
    given = parser.parse_args()
    if given.only == "field":
        for side in SIDES:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                row = process.submit(field, given.generator, side, given.field_steps)
                print(json.dumps(row.result()), flush=True)
        return
    if given.only != "marks":
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.fields or Path(scratch)
            fields = TileSet(count=400, first_seed=8_000_000)
            in_processes(shards_of(folder, fields, px=128, split="test"))
            test = open_store(folder)
            for row in seconds_and_memory(Studio(load_generator(given.generator)), test, STEPS, given.n):
                print(json.dumps(row), flush=True)
    if given.only != "steps":
        unmarked = given.unmarked or given.marks
        print(json.dumps(marks(given.marks, unmarked)), flush=True)
        data = os.environ.get("PATHAGENT_TEST_DATA")
        if data:
            print(json.dumps(false_alarms(Path(data), unmarked)), flush=True)


if __name__ == "__main__":
    main()
