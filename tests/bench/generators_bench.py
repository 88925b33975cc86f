"""What a generator costs and what its marks withstand: `make bench-generators`.

Seconds of CPU, peak memory, read-back and kernel distance at 4, 8, 16 and 50 steps; then marks on images,
after JPEG 75, a tenth cut from each side and three quarters of the size, and false alarms on phantoms and,
with PATHAGENT_TEST_DATA, on tiles of real slides.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pathagent_finetune.generator_eval import seconds_and_memory
from pathagent_finetune.generator_store import open_store, shards_of
from pathagent_finetune.real_tiles import real_tiles
from pathagent_finetune.tilestore import TileSet, in_processes
from pathagent_tools.core.errors import UserError
from pathagent_tools.generators.marking import watermark
from pathagent_tools.generators.marking.band import has_band, with_band
from pathagent_tools.generators.registry import load_generator
from pathagent_tools.generators.studio import Studio
from pathagent_tools.phantom.field import sample_field

STEPS = (4, 8, 16, 50)
TREATMENTS = ("JPEG 75", "10 % cut from each side", "0.75 x")


def marks(n: int) -> dict[str, Any]:
    """Watermarks on `n` fields of 256 px: found, found after each treatment, refused, false alarms."""
    found, after, refused, bits = 0, dict.fromkeys(TREATMENTS, 0), 0, []
    for seed in range(n):
        image = sample_field(70_000 + seed, px=256, mpp=1.0, partner="stain").image
        bits.append(watermark.matches(image))
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
        "false alarms on phantoms": sum(b >= watermark.FOUND for b in bits), "highest bits": max(bits),
    }  # fmt: skip


def false_alarms(data: Path, n: int) -> dict[str, Any]:
    """Tiles of real slides on which a mark is found."""
    tiles = np.concatenate(list(real_tiles(data, 256).values()))[:n]
    bits = [watermark.matches(tile) for tile in tiles]
    bands = sum(has_band(tile) for tile in tiles)
    alarms = sum(b >= watermark.FOUND for b in bits)
    return {"real tiles": len(tiles), "watermarks": alarms, "bands": bands, "highest bits": max(bits)}


def main() -> None:
    """Run the parts that were asked for and print one JSON document each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="embedded")
    parser.add_argument("--fields", type=Path, help="where test fields are rendered and kept")
    parser.add_argument("--n", type=int, default=26, help="images for each number of steps")
    parser.add_argument("--marks", type=int, default=40, help="images that are marked")
    parser.add_argument("--only", choices=("steps", "marks"))
    given = parser.parse_args()
    if given.only != "marks":
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.fields or Path(scratch)
            fields = TileSet(count=400, first_seed=8_000_000)
            in_processes(shards_of(folder, fields, px=128, split="test"))
            test = open_store(folder)
            for row in seconds_and_memory(Studio(load_generator(given.generator)), test, STEPS, given.n):
                print(json.dumps(row), flush=True)
    if given.only != "steps":
        print(json.dumps(marks(given.marks)), flush=True)
        data = os.environ.get("PATHAGENT_TEST_DATA")
        if data:
            print(json.dumps(false_alarms(Path(data), given.marks)), flush=True)


if __name__ == "__main__":
    main()
