"""Every benchmark is scored on its fixture: right answers are right, and who has not looked gains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answers import dishonest, items, right

from pathagent.cli import run
from pathagent_eval.bench.benchmark import Benchmark, fixture, load, names
from pathagent_eval.bench.item import read_said, write_jsonl
from pathagent_eval.bench.results import SYSTEM
from pathagent_eval.bench.score import score
from pathagent_tools.core.errors import UserError

ALL = names()
SAYS_NOTHING = ("nothing", "failures", "error text", "every option")
FREE_TEXT = ("phantom_grounding",)
"""Of these the right answer is no text: their own tests give one."""


@pytest.fixture(params=ALL)
def bench(request: pytest.FixtureRequest) -> Benchmark:
    return load(request.param)


def test_right_answers_score_one(bench: Benchmark, tmp_path: Path) -> None:
    if bench.task in FREE_TEXT:
        return
    found = items(bench)
    assert len(found) >= 3
    result = score(bench, found, right(bench, found, tmp_path), rounds=100)
    assert result.systems[SYSTEM][result.primary].value == pytest.approx(1)
    for name, number in result.systems[SYSTEM].items():
        assert number.n == len(found), name
        assert number.low <= number.value <= number.high, name
        assert number.signature, name
        assert len(number.data_sha256) == 64, name
    assert set(result.systems) > {SYSTEM, "silence"}
    assert result.clusters < 30
    assert result.gain is not None
    assert result.gain.verdict == "too few patients to tell"


def test_who_has_not_looked_is_not_above_the_floor(bench: Benchmark) -> None:
    found = items(bench)
    alone = bench.model_copy(update={"metric_list": bench.metric_list[:1], "groups": ()})
    for name, said in dishonest(found).items():
        result = score(alone, found, said, rounds=100)
        ours = result.systems[SYSTEM][result.primary].value
        assert result.best_floor is not None
        floor = result.systems[result.best_floor][result.primary].value
        assert ours <= floor + 1e-9, name
        assert name not in SAYS_NOTHING or ours == 0, name
        assert result.gain is not None
        assert result.gain.verdict != "better", name


@pytest.mark.parametrize("status", ["failed", "abstained"])
def test_failures_and_abstentions_stay_in_the_denominator(status: str, tmp_path: Path) -> None:
    bench = load("wsi_bench_choice")
    found = items(bench)
    said = right(bench, found, tmp_path)
    some = [s.model_copy(update={"status": status}) if n < 3 else s for n, s in enumerate(said)]
    number = score(bench, found, some, rounds=50).systems[SYSTEM]["vqa_strict"]
    assert number.value == pytest.approx((len(found) - 3) / len(found))
    assert (number.n_failed, number.n_abstained) == ((3, 0) if status == "failed" else (0, 3))


def test_a_benchmark_says_where_its_data_is_and_what_compares(bench: Benchmark) -> None:
    assert bench.task in ALL
    for words in (bench.metadata.source, bench.metadata.licence, bench.metadata.comparable):
        assert len(words) > 4
    assert fixture(bench.task).is_dir()


PUBLIC = {
    "reg2025": "reports_reg2025",
    "reg2026_tissue": "vqa_reg2026_roi",
    "patchgastric": "reports_patchgastric",
    "wsi_bench_report": "reports_wsibench",
    "wsi_bench_choice": "vqa_wsibench",
    "wsi_vqa": "vqa_wsivqa",
    "pathvqa": "vqa_pathvqa",
    "multipathqa": "vqa_multipathqa",
    "panda": "vqa_multipathqa",
    "camelyon16_tiles": "tiles_camelyon16",
    "gleason_masks": "tiles_gleason",
    "glas": "tiles_glas",
    "dragon": "reports_dragon/english",
}


@pytest.mark.parametrize("task", PUBLIC)
def test_the_public_data_is_read(task: str, shared_data: Path) -> None:
    from pathagent_eval.bench.formats import items_of

    bench = load(task)
    found = items_of(bench, shared_data / PUBLIC[task])
    assert len({item.id for item in found}) == len(found)
    assert all(item.reference for item in found)
    asked = [item for item in found if item.options]
    assert sum(item.reference in item.options for item in asked) >= 0.99 * len(asked)


def test_every_benchmark_of_public_data_is_tried_on_it() -> None:
    assert set(PUBLIC) == {name for name in ALL if not load(name).phantom}


def test_predictions_of_another_system_are_scored_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load("wsi_vqa")
    found = items(bench)
    out = tmp_path / "out"
    said = [s.model_copy(update={"confidence": 0.9}) for s in right(bench, found, tmp_path)]
    write_jsonl(tmp_path / "p.jsonl", said[:-1])
    command = ["eval", "score", str(tmp_path / "p.jsonl"), "--benchmark", "wsi_vqa"]
    assert run([*command, "--data", str(fixture("wsi_vqa")), "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "WSI-VQA (version 1)" in printed
    result = json.loads((out / "results.json").read_text())
    ours = result["systems"]["system"]
    assert ours["vqa_strict"]["value"] == pytest.approx(5 / 6)
    assert ours["vqa_strict"]["n_failed"] == 1
    assert ours["vqa_compat wsi-vqa"]["value"] == 1
    assert result["curves"]["reliability"]
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "http" not in page.split("<style>")[1].split("</style>")[0]
    again = ["eval", "report", str(out), "-o", str(tmp_path / "again")]
    assert run(again) == 0
    assert (tmp_path / "again/report.md").read_text() == (out / "report.md").read_text()


def test_two_systems_are_compared_in_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = load("pathvqa")
    found = items(bench)
    for name, said in {"a": right(bench, found, tmp_path), "b": dishonest(found)["nothing"]}.items():
        write_jsonl(tmp_path / f"{name}.jsonl", said)
        command = ["eval", "score", str(tmp_path / f"{name}.jsonl"), "--benchmark", "pathvqa"]
        assert run([*command, "--data", str(fixture("pathvqa")), "-o", str(tmp_path / name)]) == 0
    capsys.readouterr()
    assert (
        run(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "c.json")])
        == 0
    )
    assert "too few patients to tell" in capsys.readouterr().out
    gains = json.loads((tmp_path / "c.json").read_text())
    assert gains["vqa_strict"]["value"] == 1
    other = tmp_path / "other"
    assert run(["eval", "score", str(tmp_path / "a.jsonl"), "--benchmark", "pathvqa", "-o", str(other)]) == 2


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ('{"id": "nobody", "text": "yes"}\n', "of no item"),
        ('{"text": "yes"}\n', "has no 'id'"),
        ('{"id": "own_0000-1", "text": "yes", "confidence": 7}\n', "confidence"),
        ('{"id": "own_0000-1", "text": "a"}\n{"id": "own_0000-1", "text": "b"}\n', "twice"),
        ("", "no rows"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    rows: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.jsonl").write_text(rows)
    command = ["eval", "score", str(tmp_path / "p.jsonl"), "--benchmark", "pathvqa"]
    assert run([*command, "--data", str(fixture("pathvqa")), "-o", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


def test_an_unknown_benchmark_names_those_that_there_are() -> None:
    with pytest.raises(UserError, match="pathvqa"):
        load("nothing")


def test_texts_come_from_csv_too(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("case,text,confidence\na,yes,0.8\nb,,\n")
    said = read_said(tmp_path / "p.csv")
    assert said["a"].confidence == 0.8
    assert said["b"].status == "abstained"
