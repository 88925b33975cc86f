"""Fields of the generator on disk: rendered once in shards, then read as memory maps.

A shard holds `images`, `partners` [n, px, px, 3] uint8, `labels` [n, px, px] uint8, `layers` [n, px, px]
uint8 (bits `NUCLEI`, `MEMBRANES`, `CHANGED`), `fibres` [n, px/4, px/4] uint8 (0..π as 0..255) and
`truth.jsonl`. It is written under a temporary name and renamed, so a stopped rendering goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune.tilestore import Split, TileSet
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes

SHARD: Final = 400
NUCLEI, MEMBRANES, CHANGED = 1, 2, 4
ARRAYS: Final = ("images", "partners", "labels", "layers", "fibres")
RESOLUTIONS: Final = ((0.5, 0.16), (1.0, 0.76), (2.0, 0.08))
"""(mpp, share of the groups)."""


@dataclass(frozen=True)
class FieldStore:
    """All shards of one store; `arrays[name]` is a list of memory maps, `truth` one record a field."""

    folder: Path
    arrays: dict[str, list[NDArray[np.uint8]]]
    truth: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.truth)

    def get(self, name: str, index: int) -> NDArray[np.uint8]:
        """One field's array of that name."""
        return np.asarray(self.arrays[name][index // SHARD][index % SHARD])

    def stack(self, name: str, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """[n, …] of several fields."""
        return np.stack([self.get(name, int(i)) for i in indices])

    @property
    def digest(self) -> str:
        """Identity of the data: hash over every field's truth."""
        return sha256_bytes(canonical_json(self.truth).encode())


def field_mpp(seed: int) -> float:
    """The resolution of a seed's group, drawn with the shares of `RESOLUTIONS`."""
    from pathagent_tools.phantom.field import GROUP

    values, shares = zip(*RESOLUTIONS, strict=True)
    rng = np.random.default_rng([seed // GROUP, 23])
    return float(rng.choice(values, p=np.array(shares) / sum(shares)))


def _render_shard(shard: int, *, folder: Path, first_seed: int, px: int, split: Split) -> None:
    from pathagent_tools.generators.conditions import stain_code
    from pathagent_tools.phantom.field import sample_field

    final = folder / f"shard-{shard:04d}"
    if final.is_dir():
        return
    part = folder / f".shard-{shard:04d}.{os.getpid()}.tmp"
    part.mkdir(parents=True)
    shapes = {"images": (px, px, 3), "partners": (px, px, 3), "labels": (px, px), "layers": (px, px)}
    shapes["fibres"] = (px // 4, px // 4)
    arrays = {name: np.empty((SHARD, *shape), np.uint8) for name, shape in shapes.items()}
    with (part / "truth.jsonl").open("w") as out:
        for i in range(SHARD):
            seed = first_seed + shard * SHARD + i
            mpp = field_mpp(seed) if split == "train" else 1.0
            sample = sample_field(seed, px=px, mpp=mpp, split=split)
            arrays["images"][i], arrays["partners"][i] = sample.image, sample.partner
            arrays["labels"][i] = sample.labels
            arrays["layers"][i] = (
                NUCLEI * sample.nuclei + MEMBRANES * sample.membranes + CHANGED * sample.changed
            )
            arrays["fibres"][i] = np.round(sample.fibre / np.pi * 255)
            row = {
                "seed": seed,
                "findings": sample.findings.model_dump(),
                "partner": sample.partner_kind,
                "partner_findings": sample.partner_findings.model_dump(),
                "density": round(sample.density, 1),
                "area_um2": round(sample.area_um2, 2),
                "pleomorphism": round(sample.pleomorphism, 3),
                "mitoses": sample.mitoses,
                "mpp": mpp,
                "scanner": sample.scanner,
                "stain": stain_code(sample.image),
            }
            out.write(json.dumps(row) + "\n")
    for name, array in arrays.items():
        np.save(part / f"{name}.npy", array)
    try:
        part.replace(final)
    except OSError:
        shutil.rmtree(part)


def shards_of(folder: Path, tiles: TileSet, *, px: int, split: Split) -> list[partial[None]]:
    """What renders `tiles.count` fields (rounded up to whole shards) into `folder`, a job a shard."""
    render = partial(_render_shard, folder=folder, first_seed=tiles.first_seed, px=px, split=split)
    return [partial(render, shard) for shard in range(-(-tiles.count // SHARD))]


def open_store(folder: Path) -> FieldStore:
    """Memory-map a store. UserError when the folder holds no finished shard."""
    shards = sorted(folder.glob("shard-*"))
    if not shards:
        raise UserError(f"{folder} holds no fields: run the recipe's first stage, which renders them.")
    arrays = {name: [np.load(s / f"{name}.npy", mmap_mode="r") for s in shards] for name in ARRAYS}
    truth = [json.loads(line) for s in shards for line in (s / "truth.jsonl").read_text().splitlines()]
    return FieldStore(folder, arrays, truth)
