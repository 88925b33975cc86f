"""Tile features on disk in TRIDENT's HDF5 layout, and the rule by which they may be used again.

`<store>/<mag:g>x_<px>px_<overlap>px_overlap/features_<encoder>/<slide>.h5` holds `coords` [N, 2] int64
(level-0 top-left) and `features` [N, D] float32; attributes as TRIDENT's readers need them, plus ours.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import TileSpec

CHUNK_ROWS: Final = 1024
MAGNIFICATION_AT_1_MPP: Final = 10.0
EXACT: Final = "exact"
"""Name of the transform whose pixels are those of `Slide.read`."""
_PIECE_ROWS: Final = 8 * CHUNK_ROWS


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
    transform: str = EXACT
    quickhash: str | None = None

    def path(self, store: Path) -> Path:
        """Where the features of this slide stand in a cache: under a name that no other slide has."""
        return self.features_path(store, f"{self.slide}__{self.slide_digest[:8]}")

    def features_path(self, job: Path, name: str) -> Path:
        """Where TRIDENT's readers look for the features of the slide `name` in a job's folder."""
        encoder = self.encoder.replace("/", "_").replace(":", "_")
        return grid_folder(job, self.spec) / f"features_{encoder}" / f"{name}.h5"

    def slide_features_path(self, job: Path, name: str) -> Path:
        """Where TRIDENT's readers look for the embedding of the whole slide `name`."""
        tiles = self.features_path(job, name)
        return tiles.parent.with_name(f"slide_{tiles.parent.name}") / tiles.name

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
            "transform": self.transform,
        }


def grid_folder(job: Path, spec: TileSpec) -> Path:
    """`20x_256px_0px_overlap` in a job's folder."""
    magnification = round(MAGNIFICATION_AT_1_MPP / spec.mpp, 3)
    return job / f"{magnification:g}x_{spec.tile_px}px_{spec.overlap_px}px_overlap"


def patches_path(job: Path, spec: TileSpec, name: str) -> Path:
    """Where TRIDENT's readers look for the coordinates of the slide `name`."""
    return grid_folder(job, spec) / "patches" / f"{name}_patches.h5"


def write_features(
    path: Path, key: StoreKey, coords: NDArray[np.int64], features: NDArray[np.float32]
) -> None:
    """Write one slide's file under a temporary name, then rename it. Empty slides keep rank 2."""
    with whole_h5(path) as out:
        _put(out, "coords", coords, _coords_attributes(key, path))
        about = {"name": key.slide, "savetodir": str(path.parent), "created": _now(), "dtype": "float32"}
        _put(out, "features", features, about | key.attributes() | _origin(key))


def write_patches(path: Path, key: StoreKey, coords: NDArray[np.int64]) -> None:
    """Write one slide's coordinates alone, as TRIDENT's patching step leaves them."""
    with whole_h5(path) as out:
        _put(out, "coords", coords, _coords_attributes(key, path) | {"created": _now()} | _origin(key))


def write_slide_features(path: Path, key: StoreKey, vector: NDArray[np.float32]) -> None:
    """Write one slide's embedding [E] as TRIDENT does: the dataset `features` alone, of rank 1."""
    with whole_h5(path) as out:
        data = out.create_dataset("features", data=vector)
        data.attrs.update({"name": key.slide, "created": _now()} | key.attributes() | _origin(key))


@contextmanager
def whole_h5(path: Path) -> Iterator[Any]:
    """An HDF5 file to fill, which becomes `path` when the block ends well."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(part, "w") as out:
            yield out
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _put(out: Any, name: str, array: NDArray[Any], attributes: dict[str, Any]) -> None:
    """One dataset, written in pieces, so that an array on disk is never in memory as a whole."""
    width = array.shape[1]
    data = out.create_dataset(
        name, array.shape, array.dtype, chunks=(CHUNK_ROWS, width), maxshape=(None, width)
    )
    for start in range(0, len(array), _PIECE_ROWS):
        data[start : start + _PIECE_ROWS] = array[start : start + _PIECE_ROWS]
    data.attrs.update(attributes)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _origin(key: StoreKey) -> dict[str, str]:
    from importlib.metadata import version

    return {"pathagent_version": version("pathagent"), "slide_quickhash": key.quickhash or ""}


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
            if differs := difference(found, key):
                return None, differs
            stored = np.asarray(file["coords"], np.int64)
            features = np.asarray(file["features"], np.float32)
    except OSError as error:
        return None, f"the file cannot be read ({error})"
    if features.ndim != 2 or stored.shape != (len(features), 2):
        return None, f"shapes {list(stored.shape)} and {list(features.shape)} do not belong together"
    if not np.array_equal(stored, coords):
        return None, "the tile grid changed (tissue or bounds)"
    return features, ""


def difference(found: Mapping[str, Any], key: StoreKey) -> str:
    """The first of a file's attributes that is not the key's, in words; empty where all are.

    Files written before `transform` was recorded hold exact pixels.
    """
    for name, wanted in key.attributes().items():
        stored = found.get(name, EXACT if name == "transform" else None)
        if not _same(stored, wanted):
            return f"{name} was {stored!s}, is {wanted!s}"
    return ""


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
