"""The demo: what a stranger types first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathagent.cli import run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    assert run(["demo", "-o", str(out)]) == 0
    return out


def test_the_report_folder_is_complete(demo: Path) -> None:
    for name in ("report.html", "report.md", "report.json", "run.json", "evidence.geojson"):
        assert (demo / "report" / name).is_file(), name


def test_the_run_saw_the_slide_alone(demo: Path) -> None:
    assert [p.name for p in (demo / "case").iterdir()] == ["slide-a.tiff"]
    run_record = (demo / "report" / "run.json").read_text()
    assert json.loads((demo / "truth.json").read_text())["phantom_version"] >= 1
    assert "truth.json" not in run_record


def test_a_second_demo_needs_force(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(p.stat().st_mtime_ns for p in demo.rglob("*"))
    assert run(["demo", "-o", str(demo)]) == 2
    assert "--force" in capsys.readouterr().err
    assert sorted(p.stat().st_mtime_ns for p in demo.rglob("*")) == before
