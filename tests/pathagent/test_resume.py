"""Kill -9 in mid-run, and servers that go away: the same call goes on from the checkpoint."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stand_ins import PROFILE, ColourEncoder, LookingModel, gone_after

from pathagent import runs
from pathagent.events import read_events
from pathagent.resources import Resources
from pathagent.state import Case, SlideInput
from pathagent_tools.core.errors import ModelUnavailableError, UserError
from pathagent_tools.vlm.profile import load_profile

HERE = Path(__file__).parent
NODES = [
    "triage",
    "navigation",
    "description",
    "diagnosis",
    "measure",
    "write",
    "verify",
    "illustrate",
    "compare",
    "review",
    "finish",
]
MATRIX = [f"{kind}:{node}:1" for node in NODES for kind in ("node_started", "node_finished")]
MATRIX += [
    "node_finished:description:3",
    "node_started:description:4",
    "saved::7",
    "node_started:navigation:2",
]
FAST = ["node_finished:description:3"]


def run(slide: Path, out: Path, cache: Path, point: str) -> int:
    environment = os.environ | {
        "PATHAGENT_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)]),
    }
    command = [sys.executable, str(HERE / "killable.py"), str(slide), str(out), point]
    return subprocess.run(command, env=environment, check=False, timeout=300).returncode


def redone(events_file: Path) -> list[str]:
    """Tasks that were started again after their result was saved."""
    saved: set[str] = set()
    again = []
    for event in read_events(events_file):
        if event.kind == "saved":
            saved.add(event.task)
        elif event.kind == "node_started" and event.task in saved:
            again.append(f"{event.node} {event.key}")
    return again


def check_kill(slide: Path, tmp_path: Path, point: str, reference: str) -> None:
    out, cache = tmp_path / "out", tmp_path / "killed"
    assert run(slide, out, cache, point) == -9
    assert not out.exists()
    assert run(slide, out, cache, "never") == 0
    (events_file,) = cache.glob("runs/*/events.jsonl")
    kinds = [e.kind for e in read_events(events_file)]
    assert kinds.count("run_finished") == 1
    assert redone(events_file) == []
    assert (out / "report.json").read_text() == reference


@pytest.fixture(scope="module")
def reference(lesion_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("reference")
    assert run(lesion_slide, folder / "out", folder / "cache", "never") == 0
    return (folder / "out" / "report.json").read_text()


@pytest.mark.parametrize("point", FAST)
def test_a_killed_run_redoes_nothing_and_ends_in_the_same_report(point, lesion_slide, tmp_path, reference):
    check_kill(lesion_slide, tmp_path, point, reference)


@pytest.mark.slow
@pytest.mark.parametrize("point", MATRIX)
def test_a_run_killed_anywhere_ends_in_the_same_report(point, lesion_slide, tmp_path, reference):
    check_kill(lesion_slide, tmp_path, point, reference)


@pytest.mark.parametrize("answers", [8, 12])
def test_a_server_that_goes_away_pauses_the_run(answers, draft, lesion_slide, lesion_report):
    with pytest.raises(ModelUnavailableError, match="same command resumes") as paused:
        draft(lesion_slide, vlm=LookingModel(before=gone_after(answers)))
    assert paused.value.exit_code == 4
    model = LookingModel()
    assert draft(lesion_slide, vlm=model) == lesion_report
    assert len([r for r in model.asked if r.role == "describe"]) < len(lesion_report.evidence)


def test_a_run_in_progress_is_not_run_twice(draft, lesion_slide, cache, monkeypatch):
    keys = []

    def locked(request: object) -> None:
        if not keys:
            keys.append(1)
            with pytest.raises(UserError, match="in progress in process"):
                draft(lesion_slide)

    draft(lesion_slide, vlm=LookingModel(before=locked))
    assert keys


def test_the_key_depends_on_what_decides_the_report_and_on_nothing_else(lesion_slide):
    case = Case(slides=(SlideInput(id="S1", path=str(lesion_slide), digest="d1"),))
    other_file = (SlideInput(id="S1", path=str(lesion_slide), digest="d2"),)
    elsewhere = (SlideInput(id="S1", path=f"/elsewhere/{lesion_slide.name}", digest="d1"),)
    models = {"given_vlm": LookingModel(), "given_encoder": ColourEncoder()}
    undigested = case.model_copy(update={"slides": (SlideInput(id="S1", path=str(lesion_slide)),)})
    with Resources(case=undigested, profile=load_profile(PROFILE), **models) as resources:
        resources.slide("S1")

        def key(**changed: Any) -> str:
            resources.case = case.model_copy(update=changed)
            return runs.run_key(resources)

        assert key() == key(slides=elsewhere)
        others = [{"seed": 1}, {"question": "Is there necrosis?"}, {"notes": "x"}, {"slides": other_file}]
        keys = [key(), *(key(**other) for other in others)]
        resources.vlm.revision = "2"
        assert len({*keys, key()}) == len(keys) + 1


def test_only_our_records_are_rebuilt_from_a_checkpoint(tmp_path):
    with runs.Work(tmp_path).saver(lambda task: None) as saver:
        kept = saver.serde.loads_typed(saver.serde.dumps_typed(Path("/x")))
    assert ("pathagent_tools.core.records", "Evidence") in runs.allowed_types()
    assert kept == Path("/x")
    assert ColourEncoder.id == "colours"
