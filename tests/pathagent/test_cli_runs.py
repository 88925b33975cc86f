"""Whole runs from the command line, with the tiny models of the graph's tests behind the profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stand_ins import PROFILE, ColourEncoder, LookingModel, gone_after

from pathagent.cli import run
from pathagent_tools.core.records import Report
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

FEW = ["--profile", PROFILE, "--looks", "4"]


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathagent_tools.vlm.profile.open_vlm", lambda *_, **__: LookingModel())
    monkeypatch.setattr("pathagent_tools.encoders.registry.load_encoder", lambda *_, **__: ColourEncoder())


def test_a_report_ends_with_the_path_of_its_page(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["report", str(lesion_slide), "-o", str(out), *FEW]) == 0
    shown = capsys.readouterr().out.strip().splitlines()
    assert shown[-1] == str(out / "report.html")
    assert "Research use only" in shown[-2]
    for name in ("report.html", "report.md", "report.json", "run.json", "evidence.geojson"):
        assert (out / name).is_file(), name
    assert not list(tmp_path.glob(".*.tmp"))


def test_json_is_one_document_with_the_whole_report(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("History of an ulcer.")
    out = tmp_path / "out"
    arguments = ["--notes", str(notes), "--specimen", "Stomach", "--json", "--seed", "3"]
    assert run(["report", str(lesion_slide), "-o", str(out), *FEW, *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    report = Report.model_validate(document["report"])
    assert report == Report.model_validate_json((out / "report.json").read_text())
    assert report.notes is not None
    assert "ulcer" in report.notes
    assert report.provenance["seed"] == 3
    assert 0 < len(report.evidence) <= 4


def test_a_question_that_h_and_e_cannot_answer(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["ask", str(lesion_slide), "Is HER2 positive in this slide?", *FEW]) == 0
    assert NOT_ASSESSABLE in capsys.readouterr().out.lower()
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == []


def test_a_review_pauses_and_is_decided_once(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["report", str(lesion_slide), "-o", str(out), *FEW, "--review"]) == 4
    assert f"pathagent review {out} --approve" in capsys.readouterr().err
    assert json.loads((out / "report.json").read_text())["status"] == "draft"
    assert run(["review", str(out), "--edit", "C99=No such claim."]) == 2
    assert run(["review", str(out), "--approve"]) == 0
    assert json.loads((out / "report.json").read_text())["status"] == "reviewed"
    assert run(["review", str(out), "--approve"]) == 2


def test_a_server_that_goes_away_pauses_and_the_same_command_finishes(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = ["report", str(lesion_slide), "-o", str(out), *FEW]
    dying = LookingModel(before=gone_after(3))
    with monkeypatch.context() as patch:
        patch.setattr("pathagent_tools.vlm.profile.open_vlm", lambda *_, **__: dying)
        assert run(command) == 4
    err = capsys.readouterr().err
    assert "pathagent report" in err
    assert not out.exists()
    assert run(command) == 0
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(("region", "answer"), [("600,240,320,320", "yes"), ("300,700,200,200", "no")])
def test_a_region_is_asked_about_from_the_command_line(
    lesion_slide: Path, capsys: pytest.CaptureFixture[str], region: str, answer: str
) -> None:
    asked = ["ask", str(lesion_slide), "Is there tumour?", "--profile", PROFILE]
    assert run([*asked, "--region", region]) == 0
    assert capsys.readouterr().out.splitlines()[0] == answer


@pytest.mark.parametrize(("region", "answer"), [("S2:600,240,320,320", "yes"), ("600,240,320,320", "no")])
def test_a_region_of_another_slide_of_the_case_is_asked_about_by_its_name(
    lesion_slide: Path, plain_slide: Path, capsys: pytest.CaptureFixture[str], region: str, answer: str
) -> None:
    asked = ["ask", str(plain_slide), str(lesion_slide), "Is there tumour?", "--profile", PROFILE]
    assert run([*asked, "--region", region, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert report["answer"] == answer
    assert {e["region"]["slide"] for e in report["evidence"]} == {"S2" if region.startswith("S2") else "S1"}


@pytest.mark.parametrize("given", [[], ["slide.svs"], ["slide.svs", " "]])
def test_what_is_missing_to_ask_is_said(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", *given]) == 2
    assert "A slide and a question are needed" in capsys.readouterr().err


@pytest.mark.parametrize(("region", "said"), [
    ("600,240", "Write X,Y,WIDTH,HEIGHT"),
    ("5000,0,100,100", "outside the slide"),
    ("S2:0,0,100,100", "This case has no slide S2. Its slides: S1 (lesion.tiff)."),
])  # fmt: skip
def test_a_region_that_is_none_writes_nothing(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], region: str, said: str
) -> None:
    out = tmp_path / "out"
    asked = ["ask", str(lesion_slide), "Is there tumour?", "--profile", PROFILE, "-o", str(out)]
    assert run([*asked, "--region", region]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
