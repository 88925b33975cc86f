"""Feature files, ours and others': what is read, and what is refused without being touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.encoders.features import is_ours, load_features
from pathagent_tools.encoders.store import StoreKey, write_features, write_patches

SPEC = TileSpec(tile_px=256, mpp=0.5)
KEY = StoreKey(
    slide="a", slide_digest="d1", slide_mpp=0.25, width=4000, height=3000, spec=SPEC, encoder="uni_v1",
    encoder_revision="abc", transform="reduced", quickhash="q",
)  # fmt: skip
COORDS = np.array([[0, 0], [512, 0], [1024, 512]], np.int64)
FEATURES = np.arange(3 * 8, dtype=np.float32).reshape(3, 8)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = KEY.features_path(tmp_path, "a")
    write_features(path, KEY, COORDS, FEATURES)
    return path


def write_h5(path: Path, coords: Any, features: Any, at_coords: Any = (), at_features: Any = ()) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("coords", data=coords).attrs.update(dict(at_coords))
        file.create_dataset("features", data=features).attrs.update(dict(at_features))
    return path


def test_a_file_lies_and_says_what_tridents_readers_need(ours: Path, tmp_path: Path) -> None:
    assert ours.relative_to(tmp_path) == Path("20x_256px_0px_overlap/features_uni_v1/a.h5")
    with h5py.File(ours) as file:
        at, of = file["coords"].attrs, file["features"].attrs
        assert (at["patch_size"], at["level0_magnification"], at["target_magnification"]) == (256, 40, 20)
        assert (at["patch_size_level0"], at["overlap"], at["level0_width"], at["level0_height"]) == (
            512, 0, 4000, 3000
        )  # fmt: skip
        assert file["coords"].dtype == np.int64 and file["features"].dtype == np.float32
        assert (of["encoder"], of["encoder_revision"], of["transform"]) == ("uni_v1", "abc", "reduced")
        assert (of["slide_quickhash"], of["dtype"]) == ("q", "float32")
        assert {"name", "savetodir", "created", "pathagent_version"} <= set(of)


def test_patches_stand_alone(tmp_path: Path) -> None:
    write_patches(tmp_path / "a_patches.h5", KEY, COORDS)
    with h5py.File(tmp_path / "a_patches.h5") as file:
        assert list(file) == ["coords"] and file["coords"].attrs["mpp"] == 0.5


def test_what_was_written_is_read(ours: Path) -> None:
    found = load_features(ours, encoder="uni_v1", revision="abc", slide_digest="d1")
    np.testing.assert_array_equal(found.coords, COORDS)
    np.testing.assert_array_equal(found.features, FEATURES)
    assert (found.layout, found.size_level0, found.encoder, found.revision) == (
        "trident",
        512,
        "uni_v1",
        "abc",
    )
    assert is_ours(ours)


@pytest.mark.parametrize("n", [0, 1])
def test_no_tile_and_one_tile_keep_rank_2(tmp_path: Path, n: int) -> None:
    write_features(tmp_path / "a.h5", KEY, COORDS[:n], FEATURES[:n])
    found = load_features(tmp_path / "a.h5")
    assert found.coords.shape == (n, 2) and found.features.shape == (n, 8)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"encoder": "virchow2"}, "of encoder uni_v1, not of virchow2"),
        ({"revision": "def"}, "of encoder revision abc, not of def"),
        ({"slide_digest": "d2"}, "of slide digest d1, not of d2"),
    ],
)
def test_features_of_something_else_are_refused(ours: Path, asked: dict[str, str], message: str) -> None:
    before = ours.read_bytes()
    with pytest.raises(UserError, match=message):
        load_features(ours, **asked)
    assert ours.read_bytes() == before


def test_a_revision_is_not_taken_on_trust(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", COORDS, FEATURES, at_features={"encoder": "uni_v1"})
    assert not is_ours(path)
    with pytest.raises(UserError, match="of encoder revision unknown, not of abc"):
        load_features(path, revision="abc")


def test_a_half_written_file_is_refused(ours: Path) -> None:
    ours.write_bytes(ours.read_bytes()[:1500])
    with pytest.raises(UserError, match="half-written or no HDF5 file"):
        load_features(ours)
    assert not is_ours(ours)


@pytest.mark.parametrize(
    ("coords", "features"),
    [(np.array([0, 0]), FEATURES[:1]), (COORDS[:1], FEATURES[0]), (COORDS, FEATURES[:2])],
)
def test_rank_1_and_unequal_lengths_are_refused(tmp_path: Path, coords: Any, features: Any) -> None:
    path = write_h5(tmp_path / "a.h5", coords, features)
    with pytest.raises(UserError, match=r"\[N, 2\] and \[N, D\] are needed"):
        load_features(path)


def test_a_file_without_features_or_that_is_absent_is_refused(tmp_path: Path) -> None:
    write_patches(tmp_path / "a.h5", KEY, COORDS)
    with pytest.raises(UserError, match="no dataset 'features'; it has: coords"):
        load_features(tmp_path / "a.h5")
    with pytest.raises(UserError, match="No such feature file"):
        load_features(tmp_path / "b.h5")


def test_clams_patch_size_is_of_its_level_and_tridents_of_its_magnification(tmp_path: Path) -> None:
    clam = {"patch_size": 256, "patch_level": 1, "downsample": np.array([4.0, 4.0])}
    write_h5(tmp_path / "coords.h5", COORDS, np.empty((3, 0)), at_coords=clam)
    bare = write_h5(tmp_path / "a.h5", COORDS.astype(np.int32), FEATURES)
    found = load_features(bare, patches=tmp_path / "coords.h5")
    assert (found.layout, found.size_level0, found.coords.dtype) == ("clam", 1024, np.int64)
    assert load_features(bare).layout == "clam" and load_features(bare).size_level0 is None

    old = {"patch_size": 256, "level0_magnification": 40, "target_magnification": 10}
    trident = write_h5(tmp_path / "t.h5", COORDS, FEATURES, at_coords=old)
    assert (load_features(trident).layout, load_features(trident).size_level0) == ("trident", 1024)
