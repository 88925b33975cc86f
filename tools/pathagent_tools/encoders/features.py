"""Feature files of other tools and of this one, read strictly: TRIDENT's and CLAM's HDF5.

TRIDENT keeps `coords` and `features` in one file, with attributes at both; CLAM keeps them without any, and
the geometry in a second file, `patches/<slide>.h5`. `patch_size` means px at the target magnification in
the first and px of `patch_level` in the second, so which it is must be known: TRIDENT's coordinates have
`target_magnification`, CLAM's have `patch_level`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError

Layout = Literal["trident", "clam"]
TRIDENT_NEEDS: Final = ("patch_size", "level0_magnification", "target_magnification")


@dataclass(frozen=True)
class StoredFeatures:
    """What one file holds. `coords` int64 [N, 2]: level-0 corners. `features` float32 [N, D].

    `size_level0`: side of a tile in level-0 px, None where the file does not say. `attributes`: as found,
    those of `features` over those of `coords`. `encoder`, `revision`: empty where the file names none.
    """

    path: Path
    layout: Layout
    coords: NDArray[np.int64]
    features: NDArray[np.float32]
    size_level0: int | None
    attributes: Mapping[str, Any] = field(repr=False)

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return str(self.attributes.get("encoder", ""))

    @property
    def revision(self) -> str:
        """Revision of the encoder's weights."""
        return str(self.attributes.get("encoder_revision", ""))


def is_ours(path: Path) -> bool:
    """True where the file, of features or of coordinates alone, is a whole one that this software wrote."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "features" in file:
                return "encoder_revision" in file["features"].attrs
            return "coords" in file and "pathagent_version" in file["coords"].attrs
    except OSError:
        return False


def refuse_foreign(path: Path) -> None:
    """UserError where `path` holds a file that is not ours, or a damaged one: it is not overwritten."""
    if path.exists() and not is_ours(path):
        raise UserError(
            f"{path} was not written by this software, or is damaged. Move it away, choose another folder "
            "with --out, or take its features over with --import FOLDER."
        )


def load_features(
    path: Path,
    *,
    encoder: str | None = None,
    revision: str | None = None,
    slide_digest: str | None = None,
    patches: Path | None = None,
) -> StoredFeatures:
    """Read a feature file, and refuse what does not fit. Nothing is changed.

    encoder, revision, slide_digest: what the features must be of, where that is known; a file that names
    another, or names no revision where one is asked for, is refused. patches: CLAM's file of coordinates.
    UserError in one sentence: absent, half-written, rank-1 coordinates, another encoder, another slide.
    """
    if not path.is_file():
        raise UserError(f"No such feature file: {path}. Make it with: pathagent encode SLIDE -o FOLDER")
    coords, features, attributes = _read(path)
    if patches is not None:
        _, _, geometry = _read(patches, features=False)
        attributes = {**geometry, **attributes}
    found = StoredFeatures(
        path, "clam" if _is_clam(attributes) else "trident", coords, features,
        _size_level0(attributes), attributes,
    )  # fmt: skip
    for what, wanted, stored in (
        ("encoder", encoder, found.encoder),
        ("encoder revision", revision, found.revision),
        ("slide digest", slide_digest, str(attributes.get("slide_digest", ""))),
    ):
        if wanted is not None and stored != wanted:
            raise UserError(
                f"{path} holds features of {what} {stored or 'unknown'}, not of {wanted}. "
                "Encode the slide again into another folder: pathagent encode SLIDE -o FOLDER"
            )
    return found


def _read(
    path: Path, *, features: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[str, Any]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            missing = [n for n in ("coords", "features")[: 1 + features] if n not in file]
            if missing:
                raise UserError(f"{path} has no dataset {missing[0]!r}; it has: {', '.join(file) or 'none'}.")
            coords = np.asarray(file["coords"])
            attributes = {k: _plain(v) for k, v in file["coords"].attrs.items()}
            values = np.empty((len(coords), 0), np.float32)
            if features:
                values = np.asarray(file["features"], np.float32)
                attributes |= {k: _plain(v) for k, v in file["features"].attrs.items()}
    except OSError as error:
        said = str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read ({said}): it is half-written or no HDF5 file. "
            "Delete it and make it again: pathagent encode SLIDE -o FOLDER"
        ) from None
    if coords.ndim != 2 or coords.shape[1] != 2 or values.ndim != 2 or len(values) != len(coords):
        raise UserError(
            f"{path} holds coords {list(coords.shape)} and features {list(values.shape)}; "
            "[N, 2] and [N, D] are needed, for one tile and for none too. Make the file again."
        )
    return coords.astype(np.int64), values, attributes


def _is_clam(attributes: Mapping[str, Any]) -> bool:
    return "patch_level" in attributes or not any(name in attributes for name in TRIDENT_NEEDS)


def _size_level0(attributes: Mapping[str, Any]) -> int | None:
    """Side of a tile in level-0 px by the rule of whichever tool wrote the attributes."""
    size = attributes.get("patch_size")
    if size is None:
        return None
    if "patch_level" in attributes:
        down = attributes.get("downsample", 1.0)
        return round(float(size) * float(np.ravel(down)[0]))
    if "patch_size_level0" in attributes:
        return int(attributes["patch_size_level0"])
    if {"level0_magnification", "target_magnification"} <= set(attributes):
        up = float(attributes["level0_magnification"]) / float(attributes["target_magnification"])
        return round(float(size) * up)
    return None


def _plain(value: Any) -> Any:
    """Attribute values as Python's own: text, numbers, lists."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return value
