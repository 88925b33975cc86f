"""A batch: each bad case is one row with its reason, a stop loses nothing, and nothing is done twice."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from batch_work import SETTINGS, Inline, case, poisoned_work, server_gone, telling_work, without_weights
from stand_ins import PROFILE

import pathagent
from pathagent.batches.case import BatchCase, CaseResult, Settings
from pathagent.batches.engine import Engine, ProcessEngine
from pathagent.batches.jobs import all_rows, open_table
from pathagent.batches.run import run_batch
from pathagent.batches.summary import write_summary
from pathagent.cli import run
from pathagent_tools.core.errors import ModelUnavailableError, UserError
from pathagent_tools.vlm.profile import PROFILES

TRIAGE = SETTINGS.model_copy(update={"stages": "triage"})
MEASURE = SETTINGS.model_copy(update={"stages": "triage,measure"})


@pytest.fixture
def cases(lesion_slide: Path, plain_slide: Path, tmp_path: Path) -> list[BatchCase]:
    """Three good cases, one of them of two slides."""
    return [case("A", lesion_slide), case("B", plain_slide), case("C", *copies(lesion_slide, tmp_path))]


def copies(slide: Path, folder: Path) -> list[Path]:
    (folder / "copies").mkdir()
    return [Path(shutil.copy(slide, folder / "copies" / f"{i}.tiff")) for i in (1, 2)]


def finished(
    cases: list[BatchCase],
    out: Path,
    engine: Engine | None = None,
    settings: Settings = TRIAGE,
    **more: object,
) -> dict[str, CaseResult]:
    results = run_batch(cases, settings, out, engine or Inline(), **more)  # type: ignore[arg-type]
    return {result.case: result for result in results}


def table(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [{k: v for k, v in row.items() if k not in ("seconds", "attempts")} for row in rows]


def test_reports_of_a_batch_are_those_of_single_runs(
    cases: list[BatchCase], tmp_path: Path, lesion_report
) -> None:
    results = finished(cases, tmp_path / "out", settings=SETTINGS)
    assert {r.state for r in results.values()} == {"done"}
    written = json.loads((tmp_path / "out/cases/A/report.json").read_text())
    assert written["claims"] == lesion_report.model_dump(mode="json")["claims"]
    assert results["A"].diagnosis == "adenocarcinoma, grade 2"
    assert len(json.loads((tmp_path / "out/cases/C/report.json").read_text())["slides"]) == 2
    lines = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["report"] * 3
    assert lines[0]["text"].startswith("Adenocarcinoma, grade 2.")


def test_the_table_is_also_parquet_with_the_sentences_of_the_reports(
    cases: list[BatchCase], tmp_path: Path
) -> None:
    from pyarrow import parquet

    (tmp_path / "cut.tiff").write_bytes(Path(cases[0].slides[0].path).read_bytes()[:9000])
    results = finished([cases[0], case("cut", tmp_path / "cut.tiff")], tmp_path / "out", settings=SETTINGS)
    rows = parquet.read_table(tmp_path / "out/summary.parquet").to_pylist()
    assert [(r["case"], r["state"], r["kind"]) for r in rows] == [
        ("A", "done", ""),
        ("cut", "failed", "damaged"),
    ]
    assert rows[0]["text"] == results["A"].text and "Adenocarcinoma" in rows[0]["text"]
    assert [{k: str(v) for k, v in r.items() if k in ("case", "slides", "outcome")} for r in rows] == [
        {k: r[k] for k in ("case", "outcome", "slides")} for r in table(tmp_path / "out")
    ]


def test_the_reference_never_reaches_a_worker(lesion_slide: Path, tmp_path: Path) -> None:
    engine = Inline()
    finished([case("A", lesion_slide, reference="secret")], tmp_path / "out", engine)
    assert "secret" not in engine.given[0].model_dump_json()


def test_stages_stop_before_any_look(cases: list[BatchCase], tmp_path: Path) -> None:
    results = finished(cases, tmp_path / "out", settings=MEASURE)
    assert results["A"].outcome == "readable"
    found = json.loads((tmp_path / "out/cases/C/triage.json").read_text())
    assert [s["id"] for s in found["slides"]] == ["S1", "S2"]
    assert found["measures"][0]["measurements"]
    assert not (tmp_path / "out/cases/C/report.json").exists()


def test_each_bad_slide_is_one_row_with_its_reason(cases: list[BatchCase], tmp_path: Path) -> None:
    from tiny_slides import paint, write_slide

    (tmp_path / "words.svs").write_text("no slide\n")
    (tmp_path / "cut.tiff").write_bytes(Path(cases[0].slides[0].path).read_bytes()[:9000])
    write_slide(tmp_path / "nompp.tiff", paint(lesion=False), mpp=None)
    bad = {name: case(name, tmp_path / f"{name}.tiff") for name in ("gone", "cut", "nompp")}
    results = finished([*bad.values(), case("words", tmp_path / "words.svs"), *cases], tmp_path / "out")
    kinds = {name: results[name].kind for name in (*bad, "words")}
    assert kinds == {
        "gone": "no such file",
        "cut": "damaged",
        "nompp": "no resolution",
        "words": "slide refused",
    }
    assert [results[c.name].state for c in cases] == ["done"] * 3
    assert "Traceback" in (tmp_path / "out/failed/cut.txt").read_text()
    page = (tmp_path / "out/index.html").read_text()
    assert page.count('<li class="failed">') == 4
    assert page.count("data:image/jpeg;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")


def test_an_mpp_of_the_manifest_counts_for_its_slide_alone(plain_slide: Path, tmp_path: Path) -> None:
    from tiny_slides import paint, write_slide

    bare = write_slide(tmp_path / "bare.tiff", paint(lesion=False), mpp=None)
    both = case("A", bare, plain_slide)
    slides = (both.slides[0].model_copy(update={"mpp": 0.6}), both.slides[1])
    finished([both.model_copy(update={"slides": slides})], tmp_path / "out")
    found = json.loads((tmp_path / "out/cases/A/triage.json").read_text())["slides"]
    assert (found[0]["mpp"], found[0]["mpp_source"]) == (0.6, "csv")
    assert found[1]["mpp_source"] != "csv"


POISON = {"good": "", "abort": "aborted", "killed": "out of memory", "greedy": "out of memory", "good2": ""}


def test_what_kills_or_starves_a_worker_costs_one_row(plain_slide: Path, tmp_path: Path) -> None:
    cases = [case(name, shutil.copy(plain_slide, tmp_path / f"{name}.tiff")) for name in POISON]
    results = finished(cases, tmp_path / "out", ProcessEngine(), work=poisoned_work)
    assert {name: result.kind for name, result in results.items()} == POISON


def test_a_case_that_hangs_is_stopped_in_time(plain_slide: Path, tmp_path: Path) -> None:
    engine = ProcessEngine(timeout_s=5)
    results = finished([case("hang", plain_slide)], tmp_path / "out", engine, work=poisoned_work)
    assert results["hang"].kind == "timeout"
    assert "--timeout" in results["hang"].reason


def test_a_worker_has_the_environment_of_now_and_the_threads_that_are_its_own(
    plain_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for value in ("one", "two"):
        monkeypatch.setenv("TOLD", value)
        out = tmp_path / value
        done = finished([case(value, plain_slide)], out, ProcessEngine(), work=telling_work, threads=2)
        told.append(done[value].text)
    assert told == ["one [2]", "two [2]"]


def test_a_stopped_batch_goes_on_and_does_nothing_twice(cases: list[BatchCase], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        finished(cases, out, Inline(stop_after=1))
    assert [r["case"] for r in table(out)] == ["A"]
    assert "| B | waiting |" in (out / "summary.md").read_text()
    kept = (out / "cases/A/case.json").stat().st_mtime_ns
    engine = Inline()
    assert set(finished(cases, out, engine)) == {"B", "C"}
    assert (out / "cases/A/case.json").stat().st_mtime_ns == kept
    assert {name: row.attempts for name, row in all_rows(out).items()} == {"A": 1, "B": 2, "C": 1}
    whole = tmp_path / "whole"
    finished(cases, whole)
    assert table(out) == table(whole)
    assert finished(cases, out, engine) == {}


def test_a_case_that_ended_while_nobody_listened_is_not_run_again(
    cases: list[BatchCase], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    finished(cases, out)
    with open_table(out) as jobs:
        jobs._db.execute("UPDATE jobs SET state = 'running', result = NULL WHERE name = 'B'")
        jobs._db.commit()
    engine = Inline()
    assert finished(cases, out, engine) == {}
    assert engine.given == []
    assert len(table(out)) == 3


def test_failed_cases_are_run_again_on_request_only(cases: list[BatchCase], tmp_path: Path) -> None:
    out, late = tmp_path / "out", tmp_path / "late.tiff"
    mixed = [*cases, case("late", late)]
    assert finished(mixed, out)["late"].kind == "no such file"
    assert finished(mixed, out) == {}
    assert list(finished(mixed, out, retry_failed=True)) == ["late"]
    shutil.copy(cases[0].slides[0].path, late)
    assert finished(mixed, out)["late"].state == "done", "the slide has changed: it is there now"


def test_a_changed_slide_is_run_again_and_other_settings_are_refused(
    cases: list[BatchCase], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    finished(cases, out)
    os.utime(cases[2].slides[0].path, (1, 1))
    assert list(finished(cases, out)) == ["C"]
    with pytest.raises(UserError, match=r"seed was 0, is 5.*--force"):
        finished(cases, out, settings=TRIAGE.model_copy(update={"seed": 5}))
    keep = out / "notes.txt"
    keep.write_text("mine")
    again = finished(cases, out, settings=TRIAGE.model_copy(update={"seed": 5}), force=True)
    assert len(again) == 3
    assert keep.read_text() == "mine"


def test_two_drivers_do_not_share_a_folder(cases: list[BatchCase], tmp_path: Path) -> None:
    finished(cases[:1], tmp_path / "out")
    with open_table(tmp_path / "out"), pytest.raises(UserError, match="runs this batch"):
        finished(cases, tmp_path / "out")


def test_parts_of_a_batch_fill_one_table(cases: list[BatchCase], tmp_path: Path) -> None:
    assert set(finished(cases, tmp_path / "out", shard="1/2")) == {"A", "C"}
    assert set(finished(cases, tmp_path / "out", shard="2/2")) == {"B"}
    assert [row["case"] for row in table(tmp_path / "out")] == ["A", "B", "C"]


def test_a_server_that_goes_away_stops_the_batch_and_fails_no_case(
    cases: list[BatchCase], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelUnavailableError):
        finished(cases, out, Inline(server_gone), SETTINGS)
    assert table(out) == []
    assert len(finished(cases, out, settings=SETTINGS)) == 3


def test_missing_models_stop_the_batch_and_fail_no_case(cases: list[BatchCase], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="no weights"):
        finished(cases, out, Inline(without_weights))
    assert table(out) == []
    assert {row.state for row in all_rows(out).values()} == {"waiting"}


def test_results_come_as_they_end_and_input_is_checked_at_once(lesion_slide: Path, tmp_path: Path) -> None:
    results = pathagent.batch(
        [lesion_slide], tmp_path / "out", stages="triage", profile=PROFILE, engine=Inline()
    )
    assert next(results).state == "done"
    assert list(results) == []
    with pytest.raises(UserError, match="Known"):
        pathagent.batch([lesion_slide], tmp_path / "out", stages="measure")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Unknown profile"):
        pathagent.batch([lesion_slide], tmp_path / "out", profile="nonesuch")


def test_a_batch_does_not_go_on_with_other_models(lesion_slide: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text((PROFILES / "embedded.yaml").read_text().replace("../", f"{PROFILES.parent}/"))
    given = {"stages": "triage", "profile": str(mine), "engine": Inline()}
    list(pathagent.batch([lesion_slide], tmp_path / "out", **given))  # type: ignore[arg-type]
    mine.write_text(mine.read_text().replace("licence: Apache-2.0", "licence: MIT"))
    with pytest.raises(UserError, match=r"other settings \(models was"):
        list(pathagent.batch([lesion_slide], tmp_path / "out", **given))  # type: ignore[arg-type]


def test_the_command_ends_with_3_where_some_failed(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathagent.batches.call.ProcessEngine", lambda *_: Inline())
    out = tmp_path / "out"
    command = ["batch", str(lesion_slide), str(tmp_path / "gone.svs"), "-o", str(out), "--stages", "triage"]
    command += ["--profile", PROFILE]
    assert run([*command, "--json"]) == 3
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["counts"] == {"cases": 2, "failed: no such file": 1, "readable": 1}
    assert "1 of 2 cases failed" in said.err
    assert run(command) == 3
    assert "1 cases are done, 1 failed" in capsys.readouterr().err
    assert run([*command[:2], *command[3:]]) == 0


def test_scores_are_refused_before_work_where_they_cannot_be(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "cases.csv"
    manifest.write_text(f"case,slide,reference\nA,{lesion_slide},Adenoma\nB,b.svs,\n")
    command = ["batch", str(manifest), "-o", str(tmp_path / "out"), "--score"]
    for more, said in {
        "--metrics facts": "1 of 2 cases have no reference, B first",
        "--stages triage": "Scores need the reports",
        "--shard 1/2": "Scores need the reports",
    }.items():
        assert run([*command, *more.split()]) == 2
        assert said in capsys.readouterr().err
    manifest.write_text(f"case,slide,reference\nA,{lesion_slide},Adenoma\n")
    assert run([*command, "--metrics", "blue"]) == 2
    assert "Unknown metric 'blue'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_scored_batch_says_how_far_its_reports_agree(
    lesion_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathagent.batches.call.ProcessEngine", lambda *_: Inline())
    (tmp_path / "refs.csv").write_text('case,reference\nlesion,"Adenocarcinoma, grade 3."\n')
    command = ["batch", str(lesion_slide), "-o", str(tmp_path / "out"), "--profile", PROFILE, "--looks", "4"]
    command += ["--score", "--references", str(tmp_path / "refs.csv"), "--metrics", "facts,rouge_l"]
    assert run([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["slots"]["diagnosis"]["recall"]["value"] == 1
    assert scores["slots"]["grade"]["recall"]["value"] == 0
    assert scores["errors"]["numeric_errors"]["count"] == 1
    assert (tmp_path / "out/scores/scores.md").is_file()


def test_a_filled_or_read_only_folder_is_refused(lesion_slide: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    for out in ("full", "full/mine.txt"):
        assert run(["batch", str(lesion_slide), "-o", str(tmp_path / out)]) == 2
    assert run(["batch", str(lesion_slide), "-o", "/proc/batch"]) == 2
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_an_abstention_says_why_and_leads_to_its_page(tmp_path: Path) -> None:
    silent = CaseResult(
        case="A",
        state="done",
        outcome="insufficient evidence",
        reason="No diagnosis is drafted.",
        folder="cases/A",
        digest="0",
        slides=1,
    )
    write_summary(tmp_path, [silent])
    assert '<a href="cases/A/report.html">A</a>' in (tmp_path / "index.html").read_text()
    assert "No diagnosis is drafted." in (tmp_path / "summary.md").read_text()
