"""`pathagent generate`: one sentence and exit code 2 for bad input, and nothing written."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from pathagent.cli import run
from pathagent.commands import generate
from pathagent_tools.generators import registry
from pathagent_tools.generators.sampling import Sampling
from pathagent_tools.generators.tasks.stains import StainRequest
from pathagent_tools.phantom.field import sample_field


@pytest.fixture
def files(tmp_path: Path) -> Path:
    field = sample_field(1, px=128, mpp=1.0, partner="stain")
    Pil.fromarray(field.image).save(tmp_path / "field.png")
    Pil.fromarray(np.full((128, 128), 99, np.uint8)).save(tmp_path / "unknown.png")
    Pil.fromarray(np.full((64, 64), 255, np.uint8)).save(tmp_path / "small.png")
    Pil.fromarray(field.labels).save(tmp_path / "layout.png")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("patches --prompt ''", "empty"),
        ("patches --prompt 'purple giraffe'", "does not know the word"),
        ("patches --tissue bone", "tissue"),
        ("patches --n 100", "n:"),
        ("patches --steps 0 --tissue stroma", "use 1 to"),
        ("strip --dial mood", "dial"),
        ("layout {files}/unknown.png", "class 99"),
        ("layout {files}/absent.png", "There is no file"),
        ("layout {files}/layout.png --nuclei {files}/small.png", "same size"),
        ("restore {files}/field.png --mask {files}/small.png", "same size"),
        ("field {files}/layout.png --scale 1000", "scale"),
        ("counterfactual {files}/field.png", "diagnosis"),
        ("stain {files}/field.png --reference {files}/field.png --method magic", "method"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: str, said: str, tmp_path: Path
) -> None:  # fmt: skip
    import shlex

    before = sorted(tmp_path.iterdir())
    argv = shlex.split(arguments.format(files=files))
    assert run(["generate", *argv, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_region_off_the_slide_is_refused(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    argv = ["generate", "counterfactual", str(lesion_slide), "--tissue", "stroma", "-o", str(out)]
    assert run([*argv, "--x", "3", "--y", "3"]) == 2
    assert "leaves lesion" in capsys.readouterr().err
    assert run(argv) == 2
    assert "--x and --y" in capsys.readouterr().err
    assert not out.exists()


def test_without_weights_it_says_how_to_get_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "EMBEDDED_FOLDER", tmp_path / "none")
    assert run(["generate", "patches", "--tissue", "stroma", "-o", str(tmp_path / "out")]) == 2
    assert "pathagent finetune generator --recipe generator" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_left_out_is_what_the_tools_do() -> None:
    """The command line states the defaults of its own, so that its help needs no model library."""
    sampling = Sampling()
    assert (sampling.steps, sampling.guidance) == (generate.DEFAULT_STEPS, generate.DEFAULT_GUIDANCE)
    method = inspect.signature(generate.stain).parameters["method"].default
    assert method == StainRequest.model_fields["method"].default


def test_verify_finds_nothing_on_tissue(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "verify", str(files / "field.png")]) == 0
    assert "no mark of a synthetic image found" in capsys.readouterr().out
    assert run(["generate", "verify", str(files / "absent.png")]) == 2
