"""Mitoses in a report: counted where they are densest, said by code, cited where they were counted."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_cases import evidence, findings
from stand_ins import PROFILE, LookingModel

from pathagent.agents import candidates as places
from pathagent.agents.candidates import Pool
from pathagent.agents.mitoses import counted, hot_spot, mitosis_claim
from pathagent.agents.writing import with_counts
from pathagent.resources import Resources
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Evidence, Hypothesis, Measurement, SlideRecord
from pathagent_tools.core.scoring.report import values
from pathagent_tools.measure.mitoses import MitosisDetector, densest, distinct
from pathagent_tools.vlm.profile import PROFILES, load_profile
from pathagent_tools.vlm.weights import models_digest

STROMA = findings(tissue="stroma", architecture="none")
TUMOUR = Hypothesis(diagnosis="adenocarcinoma", grade="grade 2", probability=0.9)
NORMAL = Hypothesis(diagnosis="no significant abnormality", probability=0.9)


def count_of(figures: int, certain: int) -> Measurement:
    """A field's count, of which so many are certain."""
    sure = min(figures, certain)
    return Measurement(name="mitotic_figures", label="Mitotic figures", value=figures, unit="1", q05=sure)


def look(number: int, figures: int | None, *, certain: int = 1, **more: Any) -> Evidence:
    found = evidence(number, **more)
    region = found.region.model_copy(update={"width": 384, "height": 384})
    measured = () if figures is None else (count_of(figures, certain),)
    return found.model_copy(update={"region": region, "measurements": measured})


def slides() -> dict[str, SlideRecord]:
    return {"S1": SlideRecord.model_construct(id="S1", mpp=0.5, resolution_assumed=False)}


def claim(looks: list[Evidence], leading: Hypothesis = TUMOUR) -> dict[str, Any] | None:
    return mitosis_claim(looks, leading, slides())


def test_the_densest_field_of_the_lesion_is_said_and_cited() -> None:
    said = claim([look(1, 1), look(2, 4), look(3, 9, findings=STROMA)])
    assert said is not None
    assert (
        said["text"] == "Mitoses are many: up to 4 in a field of 0.037 mm² (2 fields of the lesion counted)."
    )
    assert (said["evidence"], said["written_by"]) == (("E2",), "rule")


def test_where_no_field_has_any_the_claim_says_how_many_were_counted() -> None:
    said = claim([look(i, 0) for i in range(1, 7)])
    assert said is not None
    assert said["text"] == "No mitoses are counted in 6 fields of the lesion."
    assert said["evidence"] == ("E1", "E2", "E3", "E4")


def test_figures_of_which_none_is_certain_are_not_said() -> None:
    said = claim([look(1, 0), look(2, 2, certain=0)])
    assert said is not None
    assert said["text"] == (
        "Mitoses are left open: up to 2 possible figures in one of 2 fields of the lesion, no certain one."
    )
    assert (said["verdict"], said["evidence"], values(said["text"])) == ("not assessable", ("E2",), {})
    said = claim([look(1, 2, certain=0), look(2, 0)], NORMAL)
    assert said is not None
    assert said["text"] == "No mitoses are counted with certainty in 2 fields (up to 2 uncertain in one)."
    assert values(said["text"]) == {"mitoses": frozenset({"none"})}


def test_a_density_on_an_assumed_resolution_says_so() -> None:
    assumed = {"S1": SlideRecord.model_construct(id="S1", mpp=0.5, resolution_assumed=True)}
    said = mitosis_claim([look(1, 4)], TUMOUR, assumed)
    assert said is not None
    assert said["text"].endswith("(1 field of the lesion counted; resolution assumed by user).")


def test_of_another_diagnosis_every_counted_field_counts() -> None:
    said = claim([look(1, 0, findings=STROMA), look(2, None, findings=STROMA)], NORMAL)
    assert said is not None
    assert said["text"] == "No mitoses are counted in 1 field."


def test_nothing_is_said_where_nothing_was_counted() -> None:
    assert claim([look(1, None)]) is None
    assert counted(look(1, None)) == 0


def test_the_count_takes_the_place_of_sentences_on_mitoses_and_of_no_others() -> None:
    texts = ["Few mitoses are seen.", "Solid nests of high nuclear grade with many mitoses.", "Stroma."]
    state: Any = {"differential": [TUMOUR], "slides": slides(), "outcome": "insufficient evidence"}
    drafts = with_counts(SimpleNamespace(), [{"text": t} for t in texts], state, [look(1, 4)])  # type: ignore[arg-type]
    assert [d["text"] for d in drafts[:2]] == texts[1:]
    assert len(drafts) == 3 and drafts[2]["text"].startswith("Mitoses are many: up to 4")


class Counting:
    """Resources of one slide with four fields in a row: the first two and the last are like each other.

    figures: (x, y, 1 where certain, else 0.5) on the slide; None where nothing counts.
    """

    vlm = SimpleNamespace(tile_px=192, tile_mpp=1.0)

    def __init__(self, figures: list[tuple[float, float, float]] | None) -> None:
        self.figures, self.asked = figures, [0]

    def slide(self, slide_id: str) -> Any:
        def mitoses(regions: list[Region]) -> Any:
            self.asked = [r.x // 1000 for r in regions]
            if self.figures is None:
                return None
            found = [f for f in self.figures if int(f[0]) // 1000 in self.asked]
            return np.array(found, np.float32).reshape(-1, 3)

        opened = SimpleNamespace(id=slide_id, mpp=0.5, bounds=(0, 0, 4000, 1000))
        return SimpleNamespace(mitoses=mitoses, slide=opened)


ROW = [(1010.0, 10.0, 1.0), (2100.0, 10.0, 1.0), *((3200.0 + 60 * i, 300.0, 0.5) for i in range(4))]
"""One figure in the second field; four in the last, near its right border, the last of them beyond it."""
MANY = [*ROW, (3390.0, 320.0, 1.0)]


def pool(*_: Any, **__: Any) -> Pool:
    like, other = [1.0, 0.0], [0.0, 1.0]
    flat = np.zeros(4)
    return Pool(
        regions=[Region(slide="S1", x=1000 * i, y=0, width=384, height=384, mpp=1.0) for i in range(4)],
        vectors=np.array([like, like, other, like], np.float32),
        anomaly=flat, relevance=flat, hints=[""] * 4, suspicion=flat, pieces=np.zeros(4, np.intp),
    )  # fmt: skip


@pytest.fixture
def four_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "make_pool", pool)


def at(number: int, place: int, figures: int, **more: Any) -> Evidence:
    found = look(number, figures, **more)
    return found.model_copy(update={"region": found.region.model_copy(update={"x": 1000 * place, "y": 0})})


@pytest.mark.usefixtures("four_fields")
def test_a_look_is_laid_where_figures_of_the_lesion_are_densest() -> None:
    slide = Counting(MANY)
    found = hot_spot(slide, "S1", [at(1, 0, 1)])  # type: ignore[arg-type]
    assert found is not None
    region, why = found
    assert why == "most mitotic figures (5), found in 3 fields like the lesion"
    assert sorted(slide.asked) == [0, 1, 3]
    inside = [f for f in MANY if region.x <= f[0] <= region.x + 384 and region.y <= f[1] <= region.y + 384]
    assert len(inside) == 5 and (region.width, region.height) == (384, 384)


@pytest.mark.usefixtures("four_fields")
def test_nothing_is_offered_without_a_lesion_without_a_counter_or_a_second_time() -> None:
    many = Counting(MANY)
    seen = at(2, 3, 5).model_copy(update={"reason": "most mitotic figures (5), found in 3 fields"})
    assert hot_spot(many, "S1", [at(1, 0, 1, findings=STROMA)]) is None  # type: ignore[arg-type]
    assert hot_spot(many, "S1", [at(1, 0, 1), seen]) is None  # type: ignore[arg-type]
    assert hot_spot(many, "S1", [at(1, 0, 7)]) is None  # type: ignore[arg-type]
    assert hot_spot(Counting(None), "S1", [at(1, 0, 1)]) is None  # type: ignore[arg-type]
    assert hot_spot(Counting([]), "S1", [at(1, 0, 0)]) is None  # type: ignore[arg-type]
    unsure = [(x, y, 0.5) for x, y, _ in MANY]
    assert hot_spot(Counting(unsure), "S1", [at(1, 0, 0)]) is None  # type: ignore[arg-type]


def test_a_figure_that_two_fields_share_is_one() -> None:
    found = np.array([[10, 10, 0.6], [12, 9, 0.9], [10, 40, 0.7]], np.float32)
    assert np.array_equal(distinct(found, 8.0), found[[1, 2]])
    middle = densest(found, 40.0)
    assert middle is not None and middle[:2] == (11.0, 24.5) and middle[2].all()
    assert densest(found[:0], 40.0) is None


@pytest.fixture
def counting_profile(tmp_path: Path) -> str:
    path = tmp_path / "counting.yaml"
    path.write_text((PROFILES / f"{PROFILE}.yaml").read_text() + "mitoses: embedded\n")
    return str(path)


@pytest.fixture
def many_in_dark_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that finds the more figures the darker a field is; the lesion is dark."""

    def find(self: MitosisDetector, rgb: Image, mpp: float) -> np.ndarray:
        return np.ones((int(max(0.0, 170 - rgb.mean()) // 4), 3), np.float32)

    monkeypatch.setattr(MitosisDetector, "find", find)


@pytest.mark.usefixtures("many_in_dark_fields")
def test_a_report_counts_looks_at_the_densest_field_and_cites_it(
    draft: Any, lesion_slide: Path, counting_profile: str
) -> None:
    report = draft(lesion_slide, profile=counting_profile, vlm=LookingModel(sufficient_after=99))
    (said,) = [c for c in report.claims if "itoses" in c.text]
    assert said.text.startswith("Mitoses are many: up to ") and said.written_by == "rule"
    counts = {e.id: counted(e) for e in report.evidence}
    assert counts[said.evidence[0]] == max(counts.values()) > 0
    assert report.provenance["mitoses"]["id"] == "embedded-mitoses"


@pytest.mark.usefixtures("many_in_dark_fields")
def test_on_tissue_that_the_models_do_not_know_nothing_is_counted(
    draft: Any, lesion_slide: Path, counting_profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Resources, "in_domain", lambda self, slide: (9.0, False))
    report = draft(lesion_slide, profile=counting_profile)
    assert report.outcome == "outside the model's domain"
    assert not [m for e in report.evidence for m in e.measurements if m.name == "mitotic_figures"]
    assert not [c for c in report.claims if "itoses" in c.text]


def test_another_detector_makes_other_models_so_that_a_batch_does_not_mix_them(tmp_path: Path) -> None:
    shutil.copytree(MitosisDetector.embedded, tmp_path / "own")
    profile = load_profile("embedded").model_copy(update={"mitoses": tmp_path / "own"})
    before = models_digest(profile)
    card = ModelCard.load(tmp_path / "own")
    card.model_copy(update={"files": card.files | {"model.safetensors": "0" * 64}}).save(tmp_path / "own")
    assert models_digest(profile) != before


def test_another_encoder_makes_other_models_too(tmp_path: Path) -> None:
    weights = tmp_path / "open_clip_model.safetensors"
    weights.write_bytes(b"one")
    profile = load_profile("embedded").model_copy(update={"encoder": f"local-dir:{tmp_path}"})
    before = models_digest(profile)
    weights.write_bytes(b"another")
    assert models_digest(profile) != before
