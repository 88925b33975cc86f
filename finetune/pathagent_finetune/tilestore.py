"""Phantom tiles on disk: rendered once by several processes, then read as memory maps.

A store is a folder of shards. Each shard holds `images` [n, px, px, 3] uint8, `labels` [n, px, px]
uint8 (classes of `phantom.classes`), `figures` and `lymphocytes` [k, 3] float32 (tile of the shard, x, y in
its px: mitotic figures, lymphocytes) and `truth.jsonl` (findings, fractions, nuclei, scanner). A shard is
written under a temporary name and renamed, so an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.records import Findings

SHARD = 500
Split = Literal["train", "test"]
Cells = Literal["figures", "lymphocytes"]
"""Cells whose places a store keeps: mitotic figures and lymphocytes."""


class TileSet(Frozen):
    """How many phantom tiles, from which seed on."""

    count: int = Field(gt=0)
    first_seed: int = Field(ge=0)


class TileSets(Frozen):
    """Disjoint seeds. `test` tiles come from other worlds and half of them from held-out scanners."""

    train: TileSet
    validation: TileSet
    test: TileSet


@dataclass(frozen=True)
class TileStore:
    """All shards of one store as one list of tiles.

    shrink: tiles are averaged by this factor when shown.
    """

    folder: Path
    images: list[NDArray[np.uint8]]
    labels: list[NDArray[np.uint8]]
    truth: list[dict[str, Any]]
    shrink: int = 1

    def __len__(self) -> int:
        return len(self.truth)

    def image(self, index: int) -> NDArray[np.uint8]:
        """[px, px, 3] uint8 RGB."""
        from pathagent_tools.phantom.camera import shrink

        around, margin = self.around(index), self.margin
        full = around[margin : len(around) - margin, margin : len(around) - margin]
        return full if self.shrink == 1 else shrink(np.ascontiguousarray(full), self.shrink)

    @property
    def margin(self) -> int:
        """px of surroundings that were rendered on each side of every tile; only `around` shows them."""
        return (self.images[0].shape[1] - self.labels[0].shape[1]) // 2 if self.labels else 0

    def around(self, index: int) -> NDArray[np.uint8]:
        """[px + 2 margin, px + 2 margin, 3] uint8 RGB as rendered: the tile in its surroundings."""
        return np.asarray(self.images[index // SHARD][index % SHARD])

    def label(self, index: int) -> NDArray[np.uint8]:
        """[px, px] uint8, classes of the phantom; never shrunk."""
        return np.asarray(self.labels[index // SHARD][index % SHARD])

    def findings(self, index: int) -> Findings:
        """The tile's slots."""
        return Findings.model_validate(self.truth[index]["findings"])

    def points(self, index: int, cells: Cells) -> NDArray[np.float32]:
        """[k, 2]: (x, y) px of the tile's cells of a kind, as rendered. UserError where none were kept."""
        path = sorted(self.folder.glob("shard-*"))[index // SHARD] / f"{cells}.npy"
        if not path.is_file():
            raise UserError(f"{path.parent} was rendered without {cells}: delete it to render it again.")
        rows = np.load(path)
        return np.asarray(rows[rows[:, 0] == index % SHARD, 1:])

    @property
    def digest(self) -> str:
        """Identity of the data: hash over every tile's truth."""
        return sha256_bytes(canonical_json(self.truth).encode())


def _render_shard(
    shard: int, *, folder: Path, first_seed: int, px: int, mpp: float, split: Split, margin: int
) -> None:
    from pathagent_tools.phantom.tile import sample_tile

    final = folder / f"shard-{shard:04d}"
    if final.is_dir():
        return
    part = folder / f".shard-{shard:04d}.{os.getpid()}.tmp"
    part.mkdir(parents=True)
    shown = px + 2 * margin
    images = np.empty((SHARD, shown, shown, 3), np.uint8)
    labels = np.empty((SHARD, px, px), np.uint8)
    places: dict[Cells, list[tuple[int, float, float]]] = {"figures": [], "lymphocytes": []}
    with (part / "truth.jsonl").open("w") as out:
        for i in range(SHARD):
            seed = first_seed + shard * SHARD + i
            sample = sample_tile(seed, field_um=px * mpp, px=px, split=split, margin_px=margin)
            images[i], labels[i] = sample.image, sample.label_map
            places["figures"] += [(i, x / mpp, y / mpp) for x, y in sample.figures_um]
            places["lymphocytes"] += [(i, x / mpp, y / mpp) for x, y in sample.lymphocytes_um]
            row = {
                "seed": seed,
                "findings": sample.findings.model_dump(),
                "fractions": {k: round(float(v), 4) for k, v in sample.class_fractions.items()},
                "nuclei": sample.nuclei,
                "area_um2": round(sample.epithelial_area_um2, 2),
                "pleomorphism": round(sample.pleomorphism, 3),
                "mitoses": sample.mitoses,
                "scanner": sample.scanner,
            }
            out.write(json.dumps(row) + "\n")
    np.save(part / "images.npy", images)
    np.save(part / "labels.npy", labels)
    for cells, found in places.items():
        np.save(part / f"{cells}.npy", np.array(found, np.float32).reshape(-1, 3))
    try:
        part.replace(final)
    except OSError:
        shutil.rmtree(part)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def in_processes(jobs: Sequence[Callable[[], None]]) -> None:
    """Run all jobs in other processes: numba's threads would slow torch's down in this one."""
    with multiprocessing.get_context("spawn").Pool(min(len(jobs), cores())) as pool:
        for running in [pool.apply_async(job) for job in jobs]:
            running.get()


def render_tiles(
    sets: TileSets, folder: Path, *, px: int, mpp: float, margin: int = 0
) -> dict[str, TileStore]:
    """Render the three tile sets under `folder` (whole shards), or open them where they are whole.

    Test tiles come from other worlds and half of them from held-out scanners; nothing else sees those.
    margin: px of surroundings that are rendered around each tile.
    """
    wanted = {"train": sets.train, "validation": sets.validation, "test": sets.test}
    jobs = [
        partial(
            _render_shard,
            shard,
            folder=folder / name,
            first_seed=tiles.first_seed,
            px=px,
            mpp=mpp,
            split="test" if name == "test" else "train",
            margin=margin,
        )
        for name, tiles in wanted.items()
        for shard in range(-(-tiles.count // SHARD))
    ]
    in_processes(jobs)
    return {name: open_store(folder / name) for name in wanted}


def open_store(folder: Path) -> TileStore:
    """Memory-map a store. UserError when the folder holds no finished shard."""
    shards = sorted(folder.glob("shard-*"))
    if not shards:
        raise UserError(f"{folder} holds no tiles: run the recipe's first stage, which renders them.")
    return TileStore(
        folder,
        [np.load(s / "images.npy", mmap_mode="r") for s in shards],
        [np.load(s / "labels.npy", mmap_mode="r") for s in shards],
        [json.loads(line) for s in shards for line in (s / "truth.jsonl").read_text().splitlines()],
    )
