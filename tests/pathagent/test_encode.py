"""`pathagent encode` on tiny real slides: the layout, going on, changed keys, failures, imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

import pathagent
from pathagent.cli import run
from pathagent_tools.core.errors import DamagedSlideError, UserError
from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.encoders import registry
from pathagent_tools.encoders.features import load_features
from pathagent_tools.encoders.slide_text import SlideTextHead, save_head
from pathagent_tools.encoders.store import StoreKey, write_features

NewCheckpoint = Callable[..., Path]
GRID = "10x_64px_0px_overlap"


class Flat:
    """A real encoder of the protocol, too simple to need weights: the mean colour of a tile."""

    id, tile_px, tile_mpp, dim = "flat", 64, 1.0, 3

    def __init__(self) -> None:
        self.revision, self.tiles = "r1", 0

    def encode_tiles(self, tiles: np.ndarray) -> np.ndarray:
        self.tiles += len(tiles)
        return tiles.mean((1, 2), dtype=np.float32)


class Plug:
    """An installed encoder plug-in."""

    def __init__(self, encoder: Flat) -> None:
        self.name, self._encoder = "flat", encoder

    def load(self) -> Callable[[], Flat]:
        return lambda: self._encoder


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flat]:
    """The encoder `flat`, found as third parties' encoders are found."""
    encoder = Flat()

    def found(*, group: str, name: str | None = None) -> list[Plug]:
        return [Plug(encoder)] if group == registry.GROUP and name in (None, "flat") else []

    monkeypatch.setattr(registry, "entry_points", found)
    yield encoder


def make_slide(
    path: Path, *, tissue: tuple[int, int, int, int] = (128, 0, 512, 512), mpp: float | None = 0.5
) -> Path:
    """768 × 512 px: pink noise in `tissue` (x, y, w, h) on white."""
    pixels = np.full((512, 768, 3), 244, np.uint8)
    x, y, w, h = tissue
    noise = np.random.default_rng(0).integers(-25, 25, (h, w, 1))
    pixels[y : y + h, x : x + w] = np.clip(np.array([200, 120, 170]) + noise, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    tifffile.imwrite(
        path, pixels, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None, **resolution
    )
    return path


def encode(*slides: Path, out: Path, **options: Any) -> dict[str, pathagent.SlideState]:
    return {s.name: s for s in pathagent.encode(list(slides), out, encoder="flat", **options)}


def test_a_job_has_tridents_layout_and_states(flat: Flat, tmp_path: Path) -> None:
    slide, out = make_slide(tmp_path / "case7.tiff"), tmp_path / "job"
    state = encode(slide, out=out)["case7"]
    assert (state.status, state.tiles, state.attempts) == ("completed", flat.tiles, 1) and flat.tiles == 16
    for path in (
        f"{GRID}/features_flat/case7.h5", f"{GRID}/patches/case7_patches.h5",
        f"{GRID}/visualization/case7.jpg", "thumbnails/case7.jpg", "contours/case7.jpg",
        "contours_geojson/case7.geojson", "summary.md", "_config_encode.json", "_logs_encode.txt",
    ):  # fmt: skip
        assert (out / path).stat().st_size > 0, path
    found = load_features(out / state.features, encoder="flat", revision="r1")
    assert found.size_level0 == 128 and sorted({*found.coords[:, 0].tolist()}) == [128, 256, 384, 512]
    np.testing.assert_allclose(found.features.mean(0), [200, 120, 170], atol=3)
    (run_file,) = (out / "runs").iterdir()
    assert json.loads(run_file.read_text())["slides"]["case7"]["status"] == "completed"
    assert list(out.rglob("*.tmp")) == list(out.rglob("*.part")) == []


def test_a_slide_has_an_embedding_of_its_own_where_the_encoder_has_a_head(flat: Flat, tmp_path: Path) -> None:
    weight = np.concatenate([np.eye(3), np.zeros((3, 3))], 1)
    arrays = {"slide_queries": np.ones((1, 3)), "slide_weight": weight}
    arrays |= {"text_queries": np.ones((1, 3)), "text_weight": weight}
    save_head(SlideTextHead(arrays), tmp_path)
    flat.folder = tmp_path  # type: ignore[attr-defined]
    slide, out = make_slide(tmp_path / "case7.tiff"), tmp_path / "job"
    assert encode(slide, out=out)["case7"].status == "completed"
    with h5py.File(out / GRID / "slide_features_flat" / "case7.h5") as file:
        assert file["features"].shape == (3,) and file["features"].attrs["encoder_revision"] == "r1"
        colour = np.array([200, 120, 170])
        np.testing.assert_allclose(file["features"], colour / np.linalg.norm(colour), atol=0.02)


def test_the_outline_is_what_qupath_reads(flat: Flat, tmp_path: Path) -> None:
    encode(make_slide(tmp_path / "a.tiff"), out=tmp_path / "job")
    collection = json.loads((tmp_path / "job/contours_geojson/a.geojson").read_text())
    (feature,) = collection["features"]
    assert feature["properties"]["objectType"] == "annotation"
    assert set(feature["properties"]["classification"]) == {"name", "color"}
    (ring,) = feature["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    xs, ys = zip(*ring, strict=True)
    assert abs(min(xs) - 128) < 40 and abs(max(xs) - 640) < 40 and abs(max(ys) - min(ys) - 512) < 60


def test_the_same_call_touches_nothing_that_is_done(flat: Flat, tmp_path: Path) -> None:
    slide, out = make_slide(tmp_path / "a.tiff"), tmp_path / "job"
    first = encode(slide, out=out)["a"]
    path = out / first.features
    os.utime(path, ns=(1, 1))
    flat.tiles = 0
    assert encode(slide, out=out)["a"] == first
    assert flat.tiles == 0 and path.stat().st_mtime_ns == 1


@pytest.mark.parametrize(
    ("change", "said"), [({"mpp": 0.4}, "slide_mpp was 0.5"), ({"min_tissue": 0.99}, "the tile grid changed")]
)
def test_a_changed_setting_recomputes_and_says_which(
    flat: Flat, tmp_path: Path, change: dict[str, float], said: str
) -> None:
    slide, out = make_slide(tmp_path / "a.tiff", tissue=(128, 0, 470, 512)), tmp_path / "job"
    encode(slide, out=out)
    again = encode(slide, out=out, **change)["a"]
    assert again.status == "completed" and f"computed anew: {said}" in again.reason


def test_other_weights_or_another_slide_recompute_and_say_so(flat: Flat, tmp_path: Path) -> None:
    slide, out = make_slide(tmp_path / "a.tiff"), tmp_path / "job"
    encode(slide, out=out)
    flat.revision = "r2"
    assert "encoder_revision was r1, is r2" in encode(slide, out=out)["a"].reason
    make_slide(slide, tissue=(0, 0, 512, 512))
    assert "slide_digest was" in encode(slide, out=out)["a"].reason


@pytest.mark.parametrize(("tissue", "tiles"), [((0, 0, 0, 0), 0), ((128, 128, 128, 128), 1)])
def test_an_empty_slide_and_one_of_a_single_tile_are_files_of_rank_2(
    flat: Flat, tmp_path: Path, tissue: tuple[int, int, int, int], tiles: int
) -> None:
    state = encode(make_slide(tmp_path / "a.tiff", tissue=tissue), out=tmp_path / "job")["a"]
    assert state.status == "completed"
    with h5py.File(tmp_path / "job" / state.features) as file:
        assert file["features"].shape == (tiles, 3) and file["coords"].shape == (tiles, 2)


def test_a_file_that_is_not_ours_is_never_overwritten(flat: Flat, tmp_path: Path) -> None:
    slide, out = make_slide(tmp_path / "a.tiff"), tmp_path / "job"
    path = out / GRID / "features_flat" / "a.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["coords"], file["features"] = np.zeros((2, 2)), np.zeros((2, 3))
    before = path.read_bytes()
    with pytest.raises(UserError, match="was not written by this software"):
        encode(slide, out=out)
    path.write_bytes(before[:900])  # half-written
    with pytest.raises(UserError, match="or is damaged"):
        encode(slide, out=out)
    assert path.read_bytes() == before[:900] and flat.tiles == 0


def test_another_tools_coordinates_are_never_overwritten(flat: Flat, tmp_path: Path) -> None:
    slide, out = make_slide(tmp_path / "a.tiff"), tmp_path / "job"
    path = out / GRID / "patches" / "a_patches.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["coords"] = np.zeros((2, 2))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"a_patches\.h5 was not written by this software"):
        encode(slide, out=out)
    assert path.read_bytes() == before and flat.tiles == 0 and not (out / "thumbnails").exists()


def test_a_run_that_fails_within_a_slide_goes_on_where_it_was(
    flat: Flat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves: no file that passes for whole, and the chunks that were complete."""
    monkeypatch.setattr("pathagent_tools.slides.tile_reader.CHUNK", 4)
    slide, out = make_slide(tmp_path / "a.tiff"), tmp_path / "job"
    encode_tiles, calls = flat.encode_tiles, []

    def dies(tiles: np.ndarray) -> np.ndarray:
        calls.append(len(tiles))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode_tiles(tiles)

    monkeypatch.setattr(flat, "encode_tiles", dies)
    with pytest.raises(KeyboardInterrupt):
        encode(slide, out=out)
    (state,) = [json.loads(p.read_text()) for p in (out / "wsi_states").iterdir()]
    assert state["status"] == "running" and not list(out.rglob("features_flat/*.h5"))
    again = encode(slide, out=out)["a"]
    assert (again.status, again.tiles, again.attempts) == ("completed", 16, 2)
    assert sum(calls[3:]) == 8  # two of four chunks were there
    whole = load_features(out / again.features).features
    np.testing.assert_allclose(whole.mean(1), whole.mean(), atol=5)


def test_one_bad_slide_stops_or_is_skipped(flat: Flat, tmp_path: Path) -> None:
    good, out = make_slide(tmp_path / "good.tiff"), tmp_path / "job"
    bad = tmp_path / "bad.tiff"
    bad.write_bytes(good.read_bytes()[:3000])
    with pytest.raises(DamagedSlideError):
        encode(bad, good, out=out)
    states = encode(bad, good, out=out, skip_errors=True)
    assert (states["bad"].status, states["bad"].kind, states["bad"].attempts) == ("error", "damaged", 2)
    assert states["good"].status == "completed"
    assert "| error | 1 |" in (out / "summary.md").read_text()


def test_slides_of_one_name_get_names_of_their_own(flat: Flat, tmp_path: Path) -> None:
    one = make_slide(tmp_path / "one/a.tiff")
    two = make_slide(tmp_path / "two/a.tiff", tissue=(0, 0, 256, 256))
    states = encode(one, two, out=tmp_path / "job")
    assert len(states) == 2 and all(name.startswith("a__") for name in states)
    assert sorted(s.tiles for s in states.values()) == [4, 16]


def test_a_list_in_tridents_format_gives_slides_and_resolutions(flat: Flat, tmp_path: Path) -> None:
    make_slide(tmp_path / "slides/a.tiff", mpp=None)
    table = tmp_path / "list.csv"
    table.write_text("wsi,mpp\na.tiff,0.5\n")
    state = encode(table, out=tmp_path / "job", wsi_dir=tmp_path / "slides")["a"]
    assert state.tiles == 16 and state.key["slide_mpp"] == 0.5


def test_a_slide_without_resolution_names_the_way_out_and_writes_nothing(flat: Flat, tmp_path: Path) -> None:
    slide, out = make_slide(tmp_path / "a.tiff", mpp=None), tmp_path / "job"
    with pytest.raises(UserError, match=r"tried openslide\.mpp-x, aperio\.MPP.*--mpp 0\.5, or --mpp-csv"):
        encode(slide, out=out)
    assert not list(out.rglob("*.h5")) and not list(out.rglob("*.jpg"))


def trident_file(folder: Path, slide: Path, **changes: Any) -> Path:
    """Features as TRIDENT writes them: no revision, its own attributes."""
    key = StoreKey(
        slide=slide.stem, slide_digest="", slide_mpp=0.5, width=768, height=512,
        spec=TileSpec(tile_px=224, mpp=0.5), encoder="lunit-vits8", encoder_revision="",
    )  # fmt: skip
    path = folder / "20x_224px_0px_overlap/features_lunit-vits8" / f"{slide.stem}.h5"
    coords = changes.get("coords", np.array([[128, 0], [352, 0]], np.int64))
    write_features(path, key, coords, np.ones((len(coords), changes.get("dim", 384)), np.float32))
    with h5py.File(path, "r+") as file:
        for name in (
            "encoder_revision",
            "slide_digest",
            "transform",
            "slide_mpp",
            "mpp",
            "patch_size",
            "overlap",
        ):
            del file["features"].attrs[name]
        file["features"].attrs["encoder"] = changes.get("encoder", "lunit-vits8")
        file["coords"].attrs["level0_width"] = changes.get("width", 768)
    return path


def test_imported_features_need_no_encoder(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "a.tiff")
    theirs = trident_file(tmp_path / "trident", slide)
    arguments = {"encoder": "lunit_vits8", "imported": tmp_path / "trident"}
    (state,) = pathagent.encode(slide, tmp_path / "job", **arguments)  # type: ignore[arg-type]
    assert state.status == "skipped" and str(theirs) in state.reason and state.tiles == 2
    found = load_features(tmp_path / "job" / state.features)
    assert found.revision == "imported, not stated" and found.features.shape == (2, 384)
    with pytest.raises(UserError, match="not of abc"):
        load_features(found.path, revision="abc")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 512}, "holds features of 512 numbers; those of lunit-vits8 have 384"),
        ({"encoder": "uni_v1"}, "by uni_v1, not by lunit-vits8"),
        ({"width": 9999}, "is of a slide of 9999 × 512 px"),
        ({"coords": np.array([[5000, 0]], np.int64)}, "beyond the edge of a.tiff"),
    ],
)
def test_features_that_cannot_be_of_this_slide_are_not_imported(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    slide = make_slide(tmp_path / "a.tiff")
    trident_file(tmp_path / "trident", slide, **changes)
    arguments = {"encoder": "lunit-vits8", "imported": tmp_path / "trident"}
    with pytest.raises(UserError, match=message):
        list(pathagent.encode(slide, tmp_path / "job", **arguments))  # type: ignore[arg-type]
    assert not list((tmp_path / "job").rglob("*.h5"))


def test_the_command_says_by_its_exit_code_how_it_ended(
    flat: Flat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, bad = make_slide(tmp_path / "a.tiff"), tmp_path / "bad.tiff"
    bad.write_bytes(b"II*\x00 nothing")
    base = ["encode", "--encoder", "flat", "-o", str(tmp_path / "job"), "--json"]
    assert run([*base, str(slide)]) == 0
    assert json.loads(capsys.readouterr().out)["slides"][0]["status"] == "completed"
    assert run([*base, str(slide), str(bad)]) == 2
    capsys.readouterr()
    assert run([*base, str(slide), str(bad), "--skip-errors"]) == 3
    told = capsys.readouterr()
    assert [s["status"] for s in json.loads(told.out)["slides"]] == ["completed", "error"]
    assert "1 of 2 slides failed" in told.err
    assert run(["encode", "--encoder", "conch_v1", str(slide), "-o", str(tmp_path / "c")]) == 2
    assert "code of their own" in capsys.readouterr().err


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_encode import Flat, Plug
from pathagent_tools.encoders import registry
from pathagent_tools.slides import tile_reader
import pathagent

class Slow(Flat):
    def encode_tiles(self, tiles):
        time.sleep(0.5)
        return super().encode_tiles(tiles)

tile_reader.CHUNK = 4
registry.entry_points = lambda *, group, name=None: [Plug(Slow())] if group == registry.GROUP else []
list(pathagent.encode([Path(p) for p in sys.argv[3:]], sys.argv[1], encoder="flat"))
"""


def test_a_job_that_is_killed_within_a_slide_leaves_nothing_that_passes_for_whole(
    flat: Flat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, slide = (
        make_slide(tmp_path / "done.tiff", tissue=(128, 128, 128, 128)),
        make_slide(tmp_path / "a.tiff"),
    )
    out = tmp_path / "job"
    arguments = [sys.executable, "-c", KILLED, str(out), str(Path(__file__).parent), str(done), str(slide)]
    with subprocess.Popen(arguments) as job:
        journal = out / GRID / "features_flat" / "a.h5.journal"
        while job.poll() is None and not (journal.is_file() and len(journal.read_text().splitlines()) > 1):
            time.sleep(0.05)
        job.kill()
    assert job.returncode == -signal.SIGKILL
    first = out / GRID / "features_flat" / "done.h5"
    before = first.stat().st_mtime_ns
    assert [p.name for p in first.parent.glob("*.h5")] == ["done.h5"]

    monkeypatch.setattr("pathagent_tools.slides.tile_reader.CHUNK", 4)
    states = encode(done, slide, out=out)
    assert {s.status for s in states.values()} == {"completed"} and states["a"].attempts == 2
    assert first.stat().st_mtime_ns == before and 0 < flat.tiles <= 12
    assert len(load_features(out / states["a"].features).features) == 16
