"""The illustrate agent: when it draws, what it shows, and that nothing drawn becomes evidence."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_cases
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image as Pil
from pydantic import ValidationError
from stand_ins import PROFILE, ColourEncoder, LookingModel

import pathagent.agents
from pathagent.agents import illustration
from pathagent.agents.illustration import illustrate, wishes
from pathagent.graph import build_graph
from pathagent.report.folder import write_run
from pathagent.report.geojson import feature_collection
from pathagent.resources import Resources
from pathagent.state import Case, SlideInput
from pathagent_tools.core.records import Evidence, Hypothesis, Report
from pathagent_tools.core.synthetic import SyntheticImage
from pathagent_tools.generators.conditions import Conditions
from pathagent_tools.phantom.field import sample_field
from pathagent_tools.vlm.profile import load_profile

DRAWN = SyntheticImage(
    id="G1", file="synthetic_x.png", sha256="0" * 64, task="patches", title="What it may look like",
    reason="the evidence did not decide", request={}, seed=1, generator="g", revision="r",
    marks=("band",), width=256, height=280,
)  # fmt: skip
TUMOUR = Hypothesis(diagnosis="solid carcinoma", grade="grade 3", probability=0.7)
RIVAL = Hypothesis(diagnosis="adenoma", grade="high-grade dysplasia", probability=0.25)


class Album:
    """A generator whose images are true fields of lymphoid tissue: what they claim can be read back."""

    id, revision, px, card = "album", "1", 128, None

    def __init__(self) -> None:
        fields = (sample_field(s, px=128, mpp=1.0, partner="stain") for s in range(100, 180))
        self._fields = [f.image for f in fields if f.findings.tissue == "lymphoid infiltrate"][:2]

    def noise(self, seeds: Sequence[int], size: int) -> Any:
        return np.array([seed % len(self._fields) for seed in seeds], float)

    def encode(self, images: Any) -> Any:
        return images

    def decode(self, x: Any) -> Any:
        return np.stack([self._fields[round(float(i))] for i in x])

    def denoise(self, x: Any, t: float, conditions: Sequence[Conditions]) -> Any:
        return x


def state(**over: Any) -> Any:
    case = Case(slides=(SlideInput(id="S1", path="x"),), illustrate=True)
    return {
        "case": case, "reading": "read", "outcome": "report", "differential": [TUMOUR, RIVAL],
        "evidence": {"E1": report_cases.evidence(1)}, **over,
    }  # fmt: skip


def test_a_differential_between_two_looks_is_worth_a_picture() -> None:
    (wish,) = wishes(state(), known=True)
    assert wish.diagnosis == "adenoma, high-grade dysplasia"
    assert wish.look is not None and wish.look.id == "E1"
    assert "25%" in wish.reason and "solid carcinoma" in wish.reason


def test_an_abstention_and_a_teaching_question_are_worth_pictures() -> None:
    undecided = wishes(state(outcome="insufficient evidence"), known=True)
    assert [w.diagnosis for w in undecided] == [TUMOUR.text, RIVAL.text]
    assert all(w.look is None for w in undecided)
    asked = Case(slides=(), question="What does this look like?", illustrate=True)
    (taught,) = wishes(state(case=asked, differential=[TUMOUR]), known=True)
    assert "question" in taught.reason


@pytest.mark.parametrize(
    ("over", "known"),
    [
        ({"differential": [TUMOUR]}, True),
        ({"differential": [TUMOUR, RIVAL.model_copy(update={"probability": 0.05})]}, True),
        ({"reading": "measure"}, True),
        ({"differential": []}, True),
        ({}, False),
    ],
)
def test_nothing_is_drawn_where_it_does_not_help(over: dict[str, Any], known: bool) -> None:
    assert wishes(state(**over), known=known) == []


def test_it_is_off_unless_asked() -> None:
    assert illustrate(None, state(case=Case(slides=()))) == {}  # type: ignore[arg-type]


@pytest.fixture
def resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resources:
    monkeypatch.setenv("PATHAGENT_CERTIFICATES", str(tmp_path / "certificates"))
    monkeypatch.setattr(illustration, "PATCHES", 2)
    return Resources(
        case=Case(slides=()), profile=load_profile("embedded"), work=tmp_path / "run", given_generator=Album()
    )


def test_an_image_that_is_not_read_back_is_not_shown(resources: Resources) -> None:
    made = illustrate(resources, state(outcome="insufficient evidence", differential=[TUMOUR]))
    assert made["illustrations"] == []
    assert "is not shown: the encoder read 0 of 2 patches" in made["withheld"][0]
    assert resources.work is not None and not resources.work.exists()


def test_an_image_that_holds_is_marked_and_only_its_record_enters_the_state(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    infiltrate = Hypothesis(diagnosis="lymphoid infiltrate", probability=0.6)
    made = illustrate(resources, state(outcome="insufficient evidence", differential=[infiltrate]))
    assert made["withheld"] == []
    (image,) = made["illustrations"]
    assert image.id == "G1" and set(image.marks) >= {"band", "watermark", "metadata", "manifest"}
    assert [r.agrees for r in image.read_back] == [True, True]
    assert resources.work is not None
    with Pil.open(resources.work / "synthetic" / image.file) as picture:
        assert picture.size == (image.width, image.height)


def test_a_diagnosis_that_cannot_be_drawn_is_said(resources: Resources) -> None:
    free = Hypothesis(diagnosis="glioblastoma", probability=0.9)
    made = illustrate(resources, state(outcome="insufficient evidence", differential=[free]))
    assert made["illustrations"] == [] and "glioblastoma" in made["withheld"][0]


def test_a_synthetic_image_and_evidence_cannot_stand_for_each_other() -> None:
    evidence = report_cases.evidence(1)
    with pytest.raises(ValidationError):
        Evidence.model_validate(DRAWN.model_dump())
    with pytest.raises(ValidationError):
        SyntheticImage.model_validate(evidence.model_dump())
    with pytest.raises(ValidationError):
        Evidence.model_validate(evidence.model_dump() | {"id": "G1"})
    with pytest.raises(ValidationError):
        SyntheticImage.model_validate(DRAWN.model_dump() | {"id": "E1"})


def test_a_report_refuses_them_in_each_others_place() -> None:
    report = report_cases.carcinoma().report
    said = dict(report)
    assert Report.model_validate(said | {"illustrations": (DRAWN,)}).illustrations == (DRAWN,)
    with pytest.raises(ValidationError):
        Report.model_validate(said | {"evidence": (*report.evidence, DRAWN)})
    with pytest.raises(ValidationError):
        Report.model_validate(said | {"illustrations": (report.evidence[0],)})
    citing = report.claims[0].model_copy(update={"evidence": ("G1",)})
    with pytest.raises(ValidationError, match="drawn by a generator"):
        Report.model_validate(said | {"illustrations": (DRAWN,), "claims": (citing, *report.claims[1:])})


def test_it_comes_after_everything_that_judges(lesion_slide: Path) -> None:
    case = Case(slides=(SlideInput(id="S1", path=str(lesion_slide)),))
    given = {"given_vlm": LookingModel(), "given_encoder": ColourEncoder()}
    with Resources(case=case, profile=load_profile(PROFILE), **given) as resources:  # type: ignore[arg-type]
        edges = {(e.source, e.target) for e in build_graph(resources, InMemorySaver()).get_graph().edges}
    assert ("verify", "illustrate") in edges and ("illustrate", "compare") in edges
    assert {target for source, target in edges if source == "illustrate"} == {"compare"}
    assert {target for source, target in edges if source == "compare"} == {"review"}


def test_no_agent_that_asks_a_model_can_see_what_was_drawn() -> None:
    folder = Path(pathagent.agents.__file__).parent
    seen = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == "illustrations"
    }
    assert seen == {"illustration.py", "finish.py"}


def test_the_page_shows_it_apart_and_qupath_never_gets_it(tmp_path: Path) -> None:
    case = report_cases.carcinoma()
    drawn = case.report.model_copy(update={"illustrations": (DRAWN,)})
    bounds = {s.id: (0, 0) for s in case.report.slides}
    assert feature_collection(drawn, bounds) == feature_collection(case.report, bounds)
    given = {"evidence_images": case.images, "overviews": case.overviews, "bounds": bounds, "run": {}}
    plain = write_run(tmp_path / "plain", case.report, **given)  # type: ignore[arg-type]
    assert "Synthetic illustrations" not in (plain / "report.html").read_text()
    assert not (plain / "synthetic").exists()
    out = write_run(tmp_path / "out", drawn, illustrations={"G1": b"png"}, **given)  # type: ignore[arg-type]
    page = (out / "report.html").read_text()
    assert "not patient tissue, not evidence" in page and "data:image/png;base64,cG5n" in page
    assert "Synthetic illustrations" in (out / "report.md").read_text()
    assert (out / "synthetic" / DRAWN.file).read_bytes() == b"png"
    assert not list((out / "evidence").glob("*G1*"))
