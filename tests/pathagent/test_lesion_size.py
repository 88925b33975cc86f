"""The size of a lesion in a report: which looks it starts from, what counts as lesion, how it is said."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from report_cases import evidence, findings

from pathagent.agents.extent import extent_claim, lesions_of
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence
from pathagent_tools.core.scoring.report import extract
from pathagent_tools.encoders import tissue_map
from pathagent_tools.measure.extent import Extent

DYSPLASIA = findings(tissue="dysplastic epithelium", architecture="crowded glands")
STROMA = findings(tissue="stroma", architecture="none")
POOLS = findings(tissue="invasive tumour", architecture="mucin pools")


class Slides:
    """Resources whose slides keep what is asked of them and answer with one extent."""

    encoder = None

    def __init__(self, found: Extent | None, *, assumed: bool = False) -> None:
        self.asked: list[tuple[str, tuple[str, ...], list[int]]] = []
        self._found, self._assumed = found, assumed

    def slide(self, slide_id: str) -> Any:
        def lesion_extent(tissues: Sequence[str], looks: Sequence[Region]) -> Extent | None:
            self.asked.append((slide_id, tuple(tissues), [r.x for r in looks]))
            return self._found

        opened = SimpleNamespace(id=slide_id, resolution_assumed=self._assumed)
        return SimpleNamespace(slide=opened, lesion_extent=lesion_extent)


def sharp(area_mm2: float, *, whole: bool = True) -> Extent:
    return Extent(area_mm2, whole, 0.95 * area_mm2, 1.05 * area_mm2)


@pytest.fixture(autouse=True)
def head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tissue_map, "head_of", lambda encoder: "a head")


def claims(
    slides: Slides, looks: Sequence[Evidence], diagnosis: str = "adenocarcinoma"
) -> list[dict[str, Any]]:
    return [extent_claim(found) for found in lesions_of(slides, looks, diagnosis)]  # type: ignore[arg-type]


def test_the_size_is_measured_from_the_looks_that_show_the_neoplasm_and_cites_them() -> None:
    slides = Slides(sharp(0.05))
    looks = [evidence(1, findings=STROMA), evidence(2), evidence(3), evidence(4, findings=DYSPLASIA)]
    (claim,) = claims(slides, looks)
    assert claim["text"].startswith("The lesion is about 0.25 mm across (as a circle")
    assert claim["evidence"] == ("E2", "E3", "E4")
    assert (claim["written_by"], claim["verdict"], claim["slide"]) == ("rule", "supported", "S1")
    ((slide, tissues, _),) = slides.asked
    assert (slide, tissues) == ("S1", ("invasive tumour", "necrosis"))


def test_mucin_belongs_to_a_tumour_in_pools_and_nothing_else_to_a_dysplasia() -> None:
    slides = Slides(sharp(0.5))
    claims(slides, [evidence(1, findings=POOLS)])
    claims(slides, [evidence(1, findings=DYSPLASIA)])
    assert [tissues for _, tissues, _ in slides.asked] == [
        ("invasive tumour", "necrosis", "mucin"),
        ("dysplastic epithelium",),
    ]


def test_what_was_not_read_to_its_end_and_an_assumed_resolution_are_said() -> None:
    (claim,) = claims(Slides(sharp(0.5, whole=False), assumed=True), [evidence(1)])
    assert "at least about 0.8 mm" in claim["text"] and "resolution assumed by user" in claim["text"]


def test_a_lesion_without_a_sharp_edge_gets_no_size_and_the_reason_tells_the_range() -> None:
    (claim,) = claims(Slides(Extent(0.05, whole=True, least_mm2=0.02, most_mm2=0.08)), [evidence(1)])
    assert claim["text"] == "The lesion has no edge on the tissue map that is sharp enough for one size."
    assert (claim["verdict"], claim["evidence"]) == ("not assessable", ("E1",))
    assert claim["reason"] == "0.16 to 0.32 mm across, by how much of the map is counted"
    assert not any(fact.slot == "measurement" for fact in extract(claim["text"]))


def test_looks_that_the_diagnosis_does_not_explain_start_no_lesion() -> None:
    slides = Slides(sharp(0.5))
    looks = [evidence(1), evidence(2, findings=DYSPLASIA)]
    assert claims(slides, looks, "chronic inflammation") == [] == slides.asked
    assert claims(slides, looks, "no significant abnormality") == [] == slides.asked
    (claim,) = claims(slides, looks, "adenoma")
    assert claim["evidence"] == ("E2",)


def test_no_size_without_a_neoplasm_or_without_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    slides = Slides(sharp(0.5))
    assert claims(slides, [evidence(1, findings=STROMA)]) == [] == slides.asked
    assert claims(Slides(None), [evidence(1)]) == []
    monkeypatch.setattr(tissue_map, "head_of", lambda encoder: None)
    assert claims(slides, [evidence(1)]) == [] == slides.asked
