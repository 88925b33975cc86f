"""Features on their way: what a stopped run leaves is gone on with, and only by the same work."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.encoders.partial import PartialFeatures
from pathagent_tools.encoders.store import StoreKey

KEY = StoreKey(
    slide="a", slide_digest="d1", slide_mpp=0.5, width=4000, height=3000, spec=TileSpec(tile_px=8, mpp=0.5),
    encoder="tiny", encoder_revision="abc",
)  # fmt: skip
COORDS = np.stack([np.arange(6), np.zeros(6)], 1).astype(np.int64)
ORDER = np.array([5, 4, 3, 2, 1, 0], np.intp)
VALUES = np.arange(12, dtype=np.float32).reshape(6, 2)


def begin(path: Path, key: StoreKey = KEY, coords: np.ndarray = COORDS) -> PartialFeatures:
    return PartialFeatures(path, key, coords, ORDER[: len(coords)], 2)


def put(part: PartialFeatures, chunk: int) -> None:
    members = ORDER[chunk * 2 : chunk * 2 + 2]
    part.put(members, VALUES[members])


def test_a_stopped_run_is_gone_on_with_and_only_whole_chunks_count(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    part = begin(path)
    put(part, 0)
    part.complete(0)
    put(part, 1)  # the process is killed here: nothing says that the chunk is whole
    part._journal.close()
    assert not path.exists()

    again = begin(path)
    assert again.done == {0}
    for chunk in (1, 2):
        put(again, chunk)
        again.complete(chunk)
    again.finish()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["features"][:], VALUES)
        np.testing.assert_array_equal(file["coords"][:], COORDS)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_a_line_cut_off_by_a_crash_is_not_a_chunk(tmp_path: Path) -> None:
    part = begin(tmp_path / "a.h5")
    put(part, 0)
    part.complete(0)
    part.close()
    with (tmp_path / "a.h5.journal").open("a") as journal:
        journal.write("\x00\x00")
    again = begin(tmp_path / "a.h5")
    assert again.done == {0}
    again.close()


def test_other_work_does_not_take_over_what_was_left(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for key, coords in (
        (StoreKey(**{**_fields(KEY), "encoder_revision": "def"}), COORDS),
        (StoreKey(**{**_fields(KEY), "slide_digest": "d2"}), COORDS),
        (KEY, COORDS + 1),
    ):
        part = begin(path)
        put(part, 0)
        part.complete(0)
        part.close()
        assert begin_and_close(path, key, coords) == set()
        assert begin_and_close(path, KEY, COORDS) == set()


def test_a_part_that_lost_bytes_is_begun_anew(tmp_path: Path) -> None:
    part = begin(tmp_path / "a.h5")
    put(part, 0)
    part.complete(0)
    part.close()
    (tmp_path / "a.h5.part").write_bytes(b"short")
    assert begin_and_close(tmp_path / "a.h5", KEY, COORDS) == set()


def test_no_tiles_make_a_file_of_rank_2(tmp_path: Path) -> None:
    begin(tmp_path / "a.h5", coords=COORDS[:0]).finish()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].shape == (0, 2) and file["coords"].shape == (0, 2)


def begin_and_close(path: Path, key: StoreKey, coords: np.ndarray) -> set[int]:
    part = begin(path, key, coords)
    done = set(part.done)
    part.close()
    return done


def _fields(key: StoreKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in StoreKey.__dataclass_fields__}
