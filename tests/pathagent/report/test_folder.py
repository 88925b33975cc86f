"""A report folder is whole or absent, and replaces another only with force."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_cases import CASES, carcinoma, two_slides

from pathagent.output_folder import check_folder
from pathagent.report import write_run
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Report


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", CASES)
def test_the_folder_holds_the_whole_run(name: str, tmp_path: Path) -> None:
    case = CASES[name]()
    out = write_run(tmp_path / "out", case.report, **case.given())
    assert Report.model_validate_json((out / "report.json").read_text()) == case.report
    assert json.loads((out / "run.json").read_text()) == case.run
    assert {p.stem for p in (out / "evidence").iterdir()} == {e.id for e in case.report.evidence}
    assert case.report.disclaimer in (out / "report.md").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = carcinoma(), carcinoma()
    a = write_run(tmp_path / "a", first.report, **first.given())
    b = write_run(tmp_path / "b", second.report, **second.given())
    assert contents(a) == contents(b)


def test_an_evidence_picture_holds_the_pixels_and_where_they_are_from(tmp_path: Path) -> None:
    case = carcinoma()
    out = write_run(tmp_path / "out", case.report, **case.given())
    look = case.report.evidence[0]
    with Image.open(out / "evidence" / f"{look.id}.png") as picture:
        assert np.array_equal(np.asarray(picture), case.images[look.id])
        assert picture.info["Evidence"] == look.id
        assert case.report.slides[0].digest in picture.info["Slide"]
        assert f"x={look.region.x} y={look.region.y}" in picture.info["Region"]
        assert "Research use only" in picture.info["Disclaimer"]


def test_a_filled_folder_needs_force_and_an_empty_one_does_not(tmp_path: Path) -> None:
    case = carcinoma()
    (tmp_path / "out").mkdir()
    write_run(tmp_path / "out", case.report, **case.given())
    before = contents(tmp_path / "out")
    with pytest.raises(UserError, match="--force"):
        check_folder(tmp_path / "out", force=False)
    with pytest.raises(UserError, match="--force"):
        write_run(tmp_path / "out", case.report, **case.given())
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / "stale.txt").write_text("old")
    write_run(tmp_path / "out", case.report, **case.given(), force=True)
    assert contents(tmp_path / "out") == before


def test_with_force_the_old_folder_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = carcinoma()
    write_run(tmp_path / "out", case.report, **case.given())
    before = contents(tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathagent.report.folder.write_bytes_atomic", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_run(tmp_path / "out", case.report, **case.given(), force=True)
    assert contents(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_unwritable_place_is_refused_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "out", Path("/proc/report")):
        with pytest.raises(UserError, match="--out"):
            check_folder(out, force=False)


def test_a_picture_that_is_missing_stops_the_report(tmp_path: Path) -> None:
    case = carcinoma()
    del case.images["E3"]
    with pytest.raises(ValueError, match="no image of E3"):
        write_run(tmp_path / "out", case.report, **case.given())
    assert list(tmp_path.iterdir()) == []


def test_several_slides_have_a_region_file_each(tmp_path: Path) -> None:
    case = two_slides()
    out = write_run(tmp_path / "out", case.report, **case.given())
    names = {p.name: json.loads(p.read_text())["features"] for p in out.glob("*.geojson")}
    own = names["evidence-S1.geojson"] + names["evidence-S2.geojson"]
    assert {f["id"] for f in own} == {f["id"] for f in names["evidence.geojson"]}
    assert [f["properties"]["metadata"]["slide"] for f in names["evidence-S2.geojson"]] == ["S2"]
