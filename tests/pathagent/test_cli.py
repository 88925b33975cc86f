"""The command line itself: codes, streams, and commands that other packages bring."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pathagent import cli
from pathagent.commands.inputs import read_notes
from pathagent.commands.review import decision
from pathagent.output_folder import check_folder, whole_folder
from pathagent_tools.core.errors import (
    BatchFailuresError,
    ModelError,
    ModelUnavailableError,
    PathAgentError,
    SlideError,
    UserError,
)


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def slide_facts(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pathagent.commands.slide.slide_facts", slide_facts)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("Give a slide."), 2),
        (SlideError("Give another slide."), 2),
        (ModelError("The model said nonsense."), 1),
        (BatchFailuresError("Two failed."), 3),
        (ModelUnavailableError("The server went away."), 4),
        (PathAgentError("We are at fault."), 1),
        (RuntimeError("surprise"), 1),
        (PermissionError(13, "Permission denied", "/cache"), 2),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_failure_has_its_code_and_no_traceback(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(error, monkeypatch)
    assert cli.run(["slide", "info", "a.svs"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.strip()
    assert error.args == () or str(error.args[-1]) in captured.err


def test_a_paused_run_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ModelUnavailableError("The server went away."), monkeypatch)
    cli.run(["slide", "info", "my slide.svs"])
    assert "pathagent slide info 'my slide.svs'" in capsys.readouterr().err


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(RuntimeError("surprise"), monkeypatch)
    assert cli.run(["--debug", "slide", "info", "a.svs"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["nope"], ["report"], ["report", "a.svs", "--looks", "few"], ["--nope"]]
)
def test_a_wrong_command_line_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert "--help" in err


def test_a_misspelt_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["reprot"]) == 2
    assert "'report'" in capsys.readouterr().err


def test_commands_of_other_packages_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "finetune" in shown
    assert "eval" in shown


def test_a_broken_plugin_does_not_take_the_rest_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint("broken", "no_such_module_here:app", cli.COMMANDS_GROUP)
    monkeypatch.setattr(cli, "_plugins", lambda: {"broken": broken})
    assert cli.run(["--help"]) == 0
    captured = capsys.readouterr()
    assert "report" in captured.out
    assert "no_such_module_here" in captured.err


def test_the_contract_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("demo", "report", "ask", "encode", "slide", "phantom", "models", "doctor", "serve"):
        assert name in shown


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pathagent.cli", "models", "list", "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    rows = json.loads(done.stdout)
    assert {"encoder", "vlm"} <= {row["role"] for row in rows if row["profile"] == "embedded"}
    (uni,) = [row for row in rows if row["model"] == "uni_v1"]
    assert (uni["tile"], uni["licence"]) == ("256 px at 0.5 µm/px", "CC-BY-NC-ND-4.0, gated")


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(RuntimeError), whole_folder(out, force=False) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list((tmp_path / "deep").iterdir()) == []
    with whole_folder(out, force=False) as folder:
        (folder / "all").touch()
    assert [p.name for p in out.iterdir()] == ["all"]


def test_a_filled_folder_survives_a_failure_with_force(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with pytest.raises(UserError, match="--force"):
        check_folder(out, force=False)
    with pytest.raises(RuntimeError), whole_folder(out, force=True) as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [p.name for p in out.iterdir()] == ["old"]
    with whole_folder(out, force=True) as folder:
        (folder / "new").touch()
    assert [p.name for p in out.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_notes_are_text_or_refused(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("Verlauf: Ulkus.", encoding="utf-8")
    assert read_notes(notes) == "Verlauf: Ulkus."
    notes.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="UTF-8"):
        read_notes(notes)
    notes.write_text("x" * 300_000)
    with pytest.raises(UserError, match="larger"):
        read_notes(notes)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([], "--approve"),
        (["--approve", "--reject"], "one decision"),
        (["--edit", "no equals sign"], "CLAIM=TEXT"),
    ],
)
def test_a_review_is_one_clear_decision(
    typed: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["review", str(tmp_path), *typed]) == 2
    assert says in capsys.readouterr().err


def test_edits_are_read_by_claim() -> None:
    edits = decision(
        approve=False, reject=False, edit=["C2=No necrosis = none.", "C3="], comment="", reviewer="r1"
    )
    assert edits.decision == "edit"
    assert edits.edits == {"C2": "No necrosis = none.", "C3": ""}
