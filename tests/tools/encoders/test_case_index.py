"""A case index finds what it was given, keeps one encoder's vectors, and is never half-written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.case_index import INDEX_NAME, TILES_A_CASE, Addition, CaseIndex

DIM = 4
OWNER = {"encoder": "e", "revision": "1"}


def addition(name: str, axis: int, *, tiles: int = 6, text: str = "") -> Addition:
    """Tiles along one axis of the space, the last one along the next."""
    features = np.zeros((tiles, DIM), np.float32)
    features[:, axis] = 3.0
    features[-1] = np.roll(features[-1], 1)
    coords = np.array([[100 * i, axis] for i in range(tiles)], np.int64)
    return Addition(name, f"digest of {name}", 0.5, coords, 256, features, text)


@pytest.fixture
def index(tmp_path: Path) -> CaseIndex:
    made = CaseIndex.begin(tmp_path / "index", dim=DIM, **OWNER)
    made.add([addition("a", 0, text="adenoma"), addition("b", 1), addition("c", 2)])
    return CaseIndex.open(tmp_path / "index", **OWNER)


def test_tiles_and_cases_are_found_by_likeness(index: CaseIndex) -> None:
    axis = np.eye(DIM, dtype=np.float32)
    best = index.similar_tiles(axis[0] * 7, 5)
    assert {(hit.case.name, hit.x) for hit in best} == {("a", 100 * i) for i in range(5)}
    assert best[0].likeness == pytest.approx(1.0)
    assert index.similar_cases(axis[1], 1)[0].case.name == "b"
    assert [hit.case.name for hit in index.cases_with(axis[1], 2, tiles=1)] == ["a", "b"]
    assert index.cases_with(axis[1], 1, tiles=5)[0].case.name == "b"
    assert index.similar_cases(axis[0])[0].case.text == "adenoma"


def test_a_slide_is_added_once_and_what_was_added_is_kept(index: CaseIndex) -> None:
    assert index.add([addition("b", 1), addition("d", 3)])[0].name == "d"
    again = CaseIndex.open(index.folder)
    assert [c.name for c in again.manifest.cases] == ["a", "b", "c", "d"]
    assert len(list(index.folder.glob("*.faiss"))) == 2


def test_an_index_of_another_encoder_is_refused(index: CaseIndex) -> None:
    with pytest.raises(UserError, match="index of encoder e, not of other"):
        CaseIndex.open(index.folder, encoder="other")
    with pytest.raises(UserError, match="revision 1, not of 2"):
        CaseIndex.open(index.folder, encoder="e", revision="2")
    with pytest.raises(UserError, match="vectors of 4 numbers"):
        index.similar_tiles(np.ones(5, np.float32))
    wrong = Addition("w", "w", 0.5, np.zeros((1, 2), np.int64), 1, np.ones((1, 7), np.float32))
    with pytest.raises(UserError, match=r"\[1, 7\]"):
        index.add([wrong])


def test_a_slide_of_one_tile_is_indexed_and_an_empty_one_is_not(index: CaseIndex) -> None:
    assert index.add([addition("one", 0, tiles=1)])[0].tiles == 1
    with pytest.raises(UserError, match="no tile of tissue"):
        index.add([replace(addition("none", 0), features=np.empty((0, DIM), np.float32))])


def test_a_damaged_or_missing_index_says_what_to_type(index: CaseIndex, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pathagent cases add"):
        CaseIndex.open(tmp_path)
    part = next(index.folder.glob("tiles-*"))
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(UserError, match="tiles are missing or damaged"):
        CaseIndex.open(index.folder)
    manifest = index.folder / INDEX_NAME
    manifest.write_text(json.dumps({"format": 99}))
    with pytest.raises(UserError, match="another version"):
        CaseIndex.open(index.folder)
    manifest.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        CaseIndex.open(index.folder)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="other things"):
        CaseIndex.begin(tmp_path, dim=DIM, **OWNER)


def test_two_writers_do_not_undo_each_other(index: CaseIndex) -> None:
    other = CaseIndex.open(index.folder)
    other.add([addition("d", 3)])
    with pytest.raises(UserError, match="changed since it was opened"):
        index.add([addition("e", 0)])
    assert len(CaseIndex.open(index.folder).manifest.cases) == 4


def test_of_a_large_slide_some_tiles_are_kept_from_end_to_end(tmp_path: Path) -> None:
    made = CaseIndex.begin(tmp_path / "i", dim=DIM, **OWNER)
    assert made.add([addition("large", 0, tiles=3000)])[0].tiles == TILES_A_CASE
    hits = made.similar_tiles(np.eye(DIM, dtype=np.float32)[0], TILES_A_CASE)
    assert {min(h.x for h in hits), max(h.x for h in hits)} >= {0}
    assert max(h.x for h in hits) >= 100 * 2990
