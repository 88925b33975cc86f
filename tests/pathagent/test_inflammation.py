"""Inflammation in a report: counted over the lesion or the tissue, said by code, cited where looks agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_cases import evidence

from pathagent.agents.extent import Lesion
from pathagent.agents.inflammation import counted_against, inflammation_claims
from pathagent.agents.verification import verify
from pathagent.agents.writing import with_counts
from pathagent.state import ModelCall
from pathagent_tools.core.records import Claim, Evidence, Hypothesis, Measurement
from pathagent_tools.core.scoring.report import values
from pathagent_tools.encoders import tissue_map
from pathagent_tools.measure.extent import Extent
from pathagent_tools.measure.lymphocytes import DENSITY, Density

CELLS = {7: np.ones((8, 8), np.float32)}


class Slide:
    """An open slide whose lymphocytes are given; it keeps which cells were asked for."""

    def __init__(self, per_mm2: float | None, *, assumed: bool = False) -> None:
        self.slide = SimpleNamespace(id="S1", resolution_assumed=assumed)
        self.asked: list[Mapping[int, Any] | None] = []
        self._found = None if per_mm2 is None else Density(per_mm2, 0.214)

    def lymphocytes(self, cells: Mapping[int, Any] | None = None) -> Density | None:
        self.asked.append(cells)
        return self._found

    def lesion_extent(self, tissues: Sequence[str], looks: Sequence[Any]) -> Extent:
        return Extent(0.05, True, 0.048, 0.052, CELLS)


def look(number: int, per_mm2: float) -> Evidence:
    counted = Measurement(name=DENSITY, label="Lymphocytes", value=per_mm2, unit="/mm2")
    return evidence(number).model_copy(update={"measurements": (counted,)})


LOOKS = (look(1, 300), look(2, 1150), look(3, 2400), look(4, 3600))


def claims(slide: Slide, diagnosis: str, looks: Sequence[Evidence] = LOOKS) -> list[dict[str, Any]]:
    resources: Any = SimpleNamespace(slide=lambda _: slide)
    lesion = Lesion(slide, tuple(looks), Extent(0.05, True, 0.048, 0.052, CELLS))  # type: ignore[arg-type]
    return inflammation_claims(resources, looks, diagnosis, [lesion])


def test_the_degree_is_of_the_whole_lesion_and_cites_looks_that_show_it_nearest_first() -> None:
    slide = Slide(1234)
    (claim,) = claims(slide, "adenocarcinoma")
    assert claim["text"] == (
        "Inflammation is mild: about 1,200 lymphocytes per mm² of the lesion (0.21 mm² counted)."
    )
    assert (claim["evidence"], claim["written_by"], claim["slide"]) == (("E2", "E3"), "rule", "S1")
    assert slide.asked == [CELLS]


@pytest.mark.parametrize(("per_mm2", "word"), [(0, "none"), (899, "none"), (900, "mild"), (3000, "marked")])
def test_what_is_said_is_read_as_the_degree_that_was_counted(per_mm2: float, word: str) -> None:
    (claim,) = claims(Slide(per_mm2), "adenoma")
    assert values(claim["text"]) == {"inflammation": frozenset({word})}


def test_where_no_look_shows_the_degree_the_nearest_one_is_cited() -> None:
    (claim,) = claims(Slide(800), "adenoma", [look(1, 3100), look(2, 950)])
    assert claim["evidence"] == ("E2",)


def test_tissue_without_a_lesion_is_counted_all_over_and_an_assumed_resolution_is_said() -> None:
    slide = Slide(400, assumed=True)
    (claim,) = claims(slide, "no significant abnormality")
    assert claim["text"] == (
        "Inflammation is not seen: about 400 lymphocytes per mm² of tissue "
        "(0.21 mm² counted; resolution assumed by user)."
    )
    assert slide.asked == [None] and claim["evidence"] == ("E1",)


def test_nothing_is_said_where_nothing_counts_or_the_inflammation_is_the_diagnosis() -> None:
    assert claims(Slide(None), "adenoma") == []
    slide = Slide(1200)
    assert claims(slide, "chronic inflammation") == [] == slide.asked


@pytest.mark.parametrize(
    ("diagnosis", "counts", "against"),
    [
        ("no significant abnormality", (410, 980), "about 980 lymphocytes"),
        ("no significant abnormality", (410, 620), ""),
        ("chronic inflammation", (410, 620), "about 620 lymphocytes"),
        ("chronic inflammation", (410, 980), ""),
        ("chronic inflammation", (None,), ""),
        ("adenocarcinoma", (410,), ""),
    ],
)
def test_a_diagnosis_that_lives_by_lymphocytes_is_held_to_their_count(
    diagnosis: str, counts: tuple[float | None, ...], against: str
) -> None:
    slides = {f"S{n}": Slide(count) for n, count in enumerate(counts)}
    resources: Any = SimpleNamespace(slide=slides.__getitem__)
    said = counted_against(resources, tuple(slides), diagnosis)
    assert said.startswith(against) and bool(said) is bool(against)


def test_an_inflammation_without_its_lymphocytes_is_not_drafted() -> None:
    checked = {"verdict": "supported", "cites": 1, "seen": "lymphoid infiltrate"}
    resources: Any = SimpleNamespace(
        slide=lambda _: SimpleNamespace(read=lambda region: None, lymphocytes=lambda: Density(300, 0.2)),
        ask_all=lambda asked: [
            ModelCall(key=key, role="verify", prompt_sha256="", text="", data=checked) for key, _ in asked
        ],
    )
    claim = Claim(
        id="C1", section="diagnosis", text="Chronic inflammation, mild.", evidence=("E1",),
        verdict="unsupported", written_by="model",
    )  # fmt: skip
    count = claim.model_copy(
        update={
            "id": "C2",
            "section": "microscopy",
            "text": "Inflammation is not seen: about 300 lymphocytes per mm² of tissue (0.2 mm² counted).",
            "written_by": "rule",
            "verdict": "supported",
        }
    )
    state: Any = {
        "claims": [claim, count],
        "evidence": {"E1": look(1, 300).model_copy(update={"findings": None})},
        "differential": [Hypothesis(diagnosis="chronic inflammation", grade="mild", probability=0.9)],
        "slides": {"S1": SimpleNamespace(id="S1", outcome="report", stain="H&E")},
        "case": SimpleNamespace(question=None, region=None),
        "outcome": "report",
    }
    update = verify(resources, state)
    assert update["outcome"] == "insufficient evidence"
    assert update["outcome_text"].startswith(
        "No diagnosis is drafted: Chronic inflammation, mild was proposed, and about 300 lymphocytes per mm²"
    )
    (left,) = update["claims"]
    assert (left.id, left.verdict) == ("C1", "contradicted")


def test_the_count_takes_the_place_of_the_models_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tissue_map, "head_of", lambda encoder: "a head")
    slide = Slide(1200)
    resources: Any = SimpleNamespace(slide=lambda _: slide, encoder=None)
    leading = Hypothesis(diagnosis="adenocarcinoma", grade="grade 2", probability=0.9)
    state: Any = {"differential": [leading], "slides": {}, "outcome": "report"}
    drafts = [{"text": "No inflammation is seen."}, {"text": "Necrosis is not seen."}]
    said = [d["text"] for d in with_counts(resources, drafts, state, LOOKS)]
    assert said[0] == "Necrosis is not seen." and len(said) == 3
    assert said[1].startswith("Inflammation is mild") and said[2].startswith("The lesion is about 0.25 mm")
    state["outcome"] = "insufficient evidence"
    assert with_counts(resources, drafts, state, LOOKS) == drafts


def test_a_phantoms_inflammation_is_what_its_truth_says(tmp_path: Path) -> None:
    import pathagent
    from pathagent_tools.phantom.slide import write_slide
    from pathagent_tools.phantom.truth import truth_of
    from pathagent_tools.phantom.world import make_phantom

    phantom = make_phantom(91_000_031, diagnosis="adenocarcinoma", lesion_mm=0.6, artifacts=False)
    report = pathagent.draft_report(write_slide(phantom, tmp_path, name="slide"), profile="embedded")
    (claim,) = [c for c in report.claims if "lymphocytes per mm²" in c.text and c.section == "microscopy"]
    assert values(claim.text)["inflammation"] == {truth_of(phantom).facts.inflammation}
    assert report.provenance["lymphocytes"]["id"] == "embedded-lymphocytes"
    assert all(any(m.name == DENSITY for m in e.measurements) for e in report.evidence)
