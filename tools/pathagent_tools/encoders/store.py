"""Tile features on disk in TRIDENT's HDF5 layout, and the rule by which they may be used again.

`<store>/<mag:g>x_<px>px_<overlap>px_overlap/features_<encoder>/<slide>.h5` holds `coords` [N, 2] int64
(level-0 top-left) and `features` [N, D] float32; attributes as TRIDENT's readers need them, plus ours.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import TileSpec

CHUNK_ROWS: Final = 1024
MAGNIFICATION_AT_1_MPP: Final = 10.0


@dataclass(frozen=True, slots=True)
class StoreKey:
    """What features depend on. All of it must match before they are used again."""

    slide: str
    slide_digest: str
    slide_mpp: float
    width: int
    height: int
    spec: TileSpec
    encoder: str
    encoder_revision: str

    def path(self, store: Path) -> Path:
        """Where the features of this slide stand."""
        name = self.encoder.replace("/", "_").replace(":", "_")
        spec = self.spec
        magnification = round(MAGNIFICATION_AT_1_MPP / spec.mpp, 3)
        grid = f"{magnification:g}x_{spec.tile_px}px_{spec.overlap_px}px_overlap"
        return store / grid / f"features_{name}" / f"{self.slide}__{self.slide_digest[:8]}.h5"

    def attributes(self) -> dict[str, Any]:
        """The key as HDF5 attributes."""
        return {
            "slide_digest": self.slide_digest,
            "slide_mpp": self.slide_mpp,
            "mpp": self.spec.mpp,
            "patch_size": self.spec.tile_px,
            "overlap": self.spec.overlap_px,
            "encoder": self.encoder,
            "encoder_revision": self.encoder_revision,
        }


def write_features(
    path: Path, key: StoreKey, coords: NDArray[np.int64], features: NDArray[np.float32]
) -> None:
    """Write one slide's file under a temporary name, then rename it. Empty slides keep rank 2."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        with h5py.File(part, "w") as out:
            for name, array in (("coords", coords), ("features", features)):
                chunks = (CHUNK_ROWS, array.shape[1])
                out.create_dataset(name, data=array, chunks=chunks, maxshape=(None, array.shape[1]))
            out["coords"].attrs.update(_coords_attributes(key, path))
            out["features"].attrs.update({"name": key.slide, "savetodir": str(path.parent), "created": now})
            out["features"].attrs.update(key.attributes())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_features(
    path: Path, key: StoreKey, coords: NDArray[np.int64]
) -> tuple[NDArray[np.float32] | None, str]:
    """(features of exactly these coordinates, "") or (None, why they cannot be used).

    Nothing is trusted but a whole file whose key and coordinates are the wanted ones.
    """
    import h5py

    if not path.is_file():
        return None, "not stored yet"
    try:
        with h5py.File(path, "r") as file:
            if "features" not in file or "coords" not in file:
                return None, "the file has no features and coords"
            found = dict(file["features"].attrs)
            for name, wanted in key.attributes().items():
                if not _same(found.get(name), wanted):
                    return None, f"{name} was {found.get(name)!s}, is {wanted!s}"
            stored = np.asarray(file["coords"], np.int64)
            features = np.asarray(file["features"], np.float32)
    except OSError as error:
        return None, f"the file cannot be read ({error})"
    if features.ndim != 2 or stored.shape != (len(features), 2):
        return None, f"shapes {list(stored.shape)} and {list(features.shape)} do not belong together"
    if not np.array_equal(stored, coords):
        return None, "the tile grid changed (tissue or bounds)"
    return features, ""


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return found is not None and bool(abs(float(found) - wanted) <= 1e-6 * wanted)
    return bool(found == wanted)


def _coords_attributes(key: StoreKey, path: Path) -> dict[str, Any]:
    spec = key.spec
    return {
        "patch_size": spec.tile_px,
        "patch_size_level0": round(spec.size_level0(key.slide_mpp)),
        "level0_magnification": MAGNIFICATION_AT_1_MPP / key.slide_mpp,
        "target_magnification": MAGNIFICATION_AT_1_MPP / spec.mpp,
        "overlap": spec.overlap_px,
        "name": key.slide,
        "savetodir": str(path.parent),
        "level0_width": key.width,
        "level0_height": key.height,
        "mpp": spec.mpp,
        "slide_mpp": key.slide_mpp,
        "stride_level0": spec.stride_level0(key.slide_mpp),
    }
