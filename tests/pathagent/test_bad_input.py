"""Bad input: one clear sentence, the exit code of the contract, no traceback, nothing left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pathagent.cli import run

Pixels = NDArray[np.uint8]


def write_tiff(path: Path, pixels: Pixels, *, mpp: float | None = 0.5) -> Path:
    """A tiled TIFF that OpenSlide reads; without `mpp` it does not say how large its pixels are."""
    scale = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path, pixels, tile=(256, 256), photometric="rgb", compression="jpeg", metadata=None, **scale
    )
    return path


def noise(side: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 255, (side, side, 3)).astype(np.uint8)


def missing(folder: Path) -> Path:
    return folder / "absent.svs"


def directory(folder: Path) -> Path:
    (folder / "a-folder").mkdir()
    return folder / "a-folder"


def text_file(folder: Path) -> Path:
    (folder / "words.svs").write_text("Not a slide at all.\n")
    return folder / "words.svs"


def empty_file(folder: Path) -> Path:
    (folder / "empty.tiff").touch()
    return folder / "empty.tiff"


def truncated(folder: Path) -> Path:
    whole = write_tiff(folder / "whole.tiff", noise(1024))
    (folder / "cut.tiff").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return folder / "cut.tiff"


def tiny(folder: Path) -> Path:
    return write_tiff(folder / "tiny.tiff", noise(16))


def without_mpp(folder: Path) -> Path:
    return write_tiff(folder / "no-mpp.tiff", noise(512), mpp=None)


def with_absurd_mpp(folder: Path) -> Path:
    return write_tiff(folder / "absurd.tiff", noise(512), mpp=350)


BROKEN_SLIDES: dict[Callable[[Path], Path], str] = {
    missing: "No such file",
    directory: "",
    text_file: "",
    empty_file: "",
    truncated: "",
    tiny: "16 × 16",
    without_mpp: "--mpp 0.5",
    with_absurd_mpp: "--mpp 0.5",
}


def assert_one_sentence(err: str, says: str = "") -> None:
    """One line that names the trouble; what to type next is the second sentence of the same line."""
    assert says in err, err
    assert "Traceback" not in err, err
    assert len(err.strip().splitlines()) == 1, err
    assert err.strip().endswith((".", "?", ">")) or "--" in err or ": " in err, err


@pytest.mark.parametrize("make", BROKEN_SLIDES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("command", ["slide info", "report"])
def test_a_slide_that_cannot_be_read(
    make: Callable[[Path], Path], command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, out = make(tmp_path), tmp_path / "out"
    before = sorted(tmp_path.iterdir())
    extra = ["-o", str(out)] if command == "report" else []
    assert run([*command.split(), str(slide), *extra]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert_one_sentence(captured.err, BROKEN_SLIDES[make])
    assert sorted(tmp_path.iterdir()) == before


def test_asking_a_slide_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(tmp_path / "absent.svs"), "Is there a tumour?"]) == 2
    assert_one_sentence(capsys.readouterr().err, "No such file")


@pytest.mark.parametrize(
    "name",
    ["not_an_image.svs", "unreadable_tile.svs", "tiny_16px.svs", "synthetic_boxes_wrong_mpp.tiff"],
)
def test_defective_public_slides(
    name: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = shared_data / "wsi_small/defect" / name
    assert run(["report", str(slide), "-o", str(tmp_path / "out")]) == 2
    assert_one_sentence(capsys.readouterr().err, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mpp", "350"], "0.1"),
        (["--mpp", "half"], "--mpp"),
        (["--mpp-csv", "absent.csv"], "absent.csv"),
        (["--notes", "absent.txt"], "--notes"),
        (["--profile", "embeded"], "embedded"),
        (["--profile", "nonsense"], "embedded"),
        (["--looks", "0"], "--looks"),
        (["--no-such-option"], "--no-such-option"),
        (["--specimen", "spaceship"], "spaceship"),
    ],
)
def test_arguments_that_cannot_be_used(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = write_tiff(tmp_path / "slide.tiff", noise(1024))
    assert run(["report", str(slide), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert_one_sentence(capsys.readouterr().err, says)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slide.tiff"]


def test_a_dead_model_server_is_named_with_the_command_that_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = write_tiff(tmp_path / "slide.tiff", noise(1024))
    url = ["--vlm-url", "http://127.0.0.1:9/v1", "--vlm-model", "m"]
    code = run(["report", str(slide), "-o", str(tmp_path / "out"), "--profile", "openai-compatible", *url])
    err = capsys.readouterr().err
    assert code == 4, err
    assert "Traceback" not in err
    assert "127.0.0.1:9" in err
    assert "pathagent report" in err
    assert not (tmp_path / "out").exists()


def test_a_filled_folder_is_not_touched_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, out = write_tiff(tmp_path / "slide.tiff", noise(512)), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert run(["report", str(slide), "-o", str(out)]) == 2
    assert_one_sentence(capsys.readouterr().err, "--force")
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("kind", ["a file", "below a file", "/proc"])
def test_an_output_folder_that_cannot_be_written(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, blocker = write_tiff(tmp_path / "slide.tiff", noise(512)), tmp_path / "blocker"
    blocker.write_text("keep")
    out = {"a file": blocker, "below a file": blocker / "out", "/proc": Path("/proc/out")}[kind]
    assert run(["report", str(slide), "-o", str(out)]) == 2
    assert_one_sentence(capsys.readouterr().err, "--out")
    assert blocker.read_text() == "keep"


def test_a_slide_without_tissue_ends_in_a_stated_abstention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = write_tiff(tmp_path / "blank.tiff", np.full((2048, 2048, 3), 244, np.uint8))
    out = tmp_path / "out"
    assert run(["report", str(slide), "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert "no tissue" in captured.out.lower()
    assert captured.out.strip().endswith(str(out / "report.html"))
    assert (out / "report.html").is_file()


def test_fluorescence_is_named_and_not_read(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = shutil.copyfile(shared_data / "wsi_small/fluorescence_tritc.ndpi", tmp_path / "a.ndpi")
    assert run(["report", str(slide), "-o", str(tmp_path / "out")]) == 0
    assert "fluorescence" in capsys.readouterr().out
