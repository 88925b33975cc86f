"""A batch beside written criteria and indexed cases: every report has the section."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batch_work import Inline, tiny_work
from stand_ins import PROFILE, ColourEncoder

import pathagent
from pathagent.batches.case import CaseResult, Job, Settings
from pathagent.batches.jobs import all_rows
from pathagent.case_search import index_cases
from pathagent.cli import run
from pathagent_tools.core.errors import UserError

CRITERION = "Irregular glands that invade the stroma are required."


class OtherEncoder(ColourEncoder):
    id = "other-colours"


@pytest.fixture
def criteria(tmp_path: Path) -> Path:
    folder = tmp_path / "criteria"
    folder.mkdir()
    (folder / "colon.md").write_text(f"# Colon\n## Adenocarcinoma\n{CRITERION}\n")
    return folder


def test_every_report_of_a_batch_has_the_section(
    lesion_slide: Path, plain_slide: Path, criteria: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathagent.batches.call.ProcessEngine", lambda *_: Inline())
    index_cases(plain_slide, tmp_path / "indexed", encoder=ColourEncoder())
    out = tmp_path / "out"
    command = ["batch", str(lesion_slide), str(plain_slide), "-o", str(out), "--profile", PROFILE]
    command += ["--knowledge", str(criteria), "--cases", str(tmp_path / "indexed")]
    assert run(command) == 0
    found = {
        c: json.loads((out / "cases" / c / "report.json").read_text())["compare"] for c in ("lesion", "plain")
    }
    assert [p["text"] for p in found["lesion"]["passages"]] == [CRITERION]
    assert [c["name"] for c in found["lesion"]["cases"]] == ["plain.tiff"]
    assert found["plain"]["cases"] == [] and "an index of 1 slides" in " ".join(found["plain"]["said"])
    assert CRITERION in (out / "cases" / "lesion" / "report.html").read_text()


def test_a_batch_goes_on_beside_the_same_texts_only(
    lesion_slide: Path, criteria: Path, tmp_path: Path
) -> None:
    given = {"profile": PROFILE, "engine": Inline(), "knowledge": criteria}
    assert [r.state for r in pathagent.batch([lesion_slide], tmp_path / "out", **given)] == ["done"]  # type: ignore[arg-type]
    moved = criteria.rename(tmp_path / "moved")
    assert list(pathagent.batch([lesion_slide], tmp_path / "out", **given | {"knowledge": moved})) == []  # type: ignore[arg-type]
    (moved / "colon.md").write_text("Other criteria.")
    for other in ({"knowledge": moved}, {"knowledge": None}):
        with pytest.raises(UserError, match=r"other settings \(compare was"):
            list(pathagent.batch([lesion_slide], tmp_path / "out", **given | other))  # type: ignore[arg-type]


def test_texts_that_change_meanwhile_stop_the_batch_and_fail_no_case(
    lesion_slide: Path, plain_slide: Path, criteria: Path, tmp_path: Path
) -> None:
    def edited_after(job: Job) -> CaseResult:
        result = tiny_work(job)
        (criteria / "colon.md").write_text("Other criteria.")
        return result

    given = {"profile": PROFILE, "engine": Inline(edited_after), "knowledge": criteria}
    with pytest.raises(UserError, match="has changed since this batch began"):
        list(pathagent.batch([lesion_slide, plain_slide], tmp_path / "out", **given))  # type: ignore[arg-type]
    assert {n: row.state for n, row in all_rows(tmp_path / "out").items()} == {
        "lesion": "done",
        "plain": "waiting",
    }


def test_what_cannot_be_compared_with_is_refused_before_work(
    lesion_slide: Path, criteria: Path, tmp_path: Path
) -> None:
    def refused(said: str, **given: object) -> None:
        with pytest.raises(UserError, match=said):
            list(pathagent.batch([lesion_slide], tmp_path / "out", profile=PROFILE, engine=Inline(), **given))  # type: ignore[arg-type]

    refused("No such folder", knowledge=tmp_path / "absent")
    refused("is no case index", cases=criteria)
    refused("Only reports are compared", knowledge=criteria, stages="triage")
    assert not (tmp_path / "out").exists()
    index_cases(lesion_slide, tmp_path / "other", encoder=OtherEncoder())
    refused("index of encoder other-colours", cases=tmp_path / "other")


def test_a_batch_that_is_compared_with_nothing_keeps_the_identity_that_it_had() -> None:
    assert "compare" not in Settings().deciding()
