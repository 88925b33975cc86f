"""Which looks are taken again at the finer scale, where in them, and why."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from stand_ins import PROFILE, LookingModel, draft_tiny

from pathagent.agents.magnification import apart, closer_looks
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence, Findings, MadeBy
from pathagent_tools.vlm.profile import PROFILES, load_profile

STROMA = Findings(
    tissue="stroma", architecture="none", nuclear_grade="none", mitoses="none", necrosis="absent",
    inflammation="none", artifact="none", stain="balanced",
)  # fmt: skip
TUMOUR = STROMA.model_copy(update={"tissue": "invasive tumour", "architecture": "solid nests"})


def look(n: int, findings: Findings | None = STROMA, *, confidence: float = 0.9, **region: Any) -> Evidence:
    """A look of 192 µm on a slide of 0.5 µm per px, the n-th in a row."""
    where = {"slide": "S1", "x": 1000 * n, "y": 0, "width": 384, "height": 384, "mpp": 1.0} | region
    return Evidence(
        id=f"E{n}",
        region=Region(**where),
        place="centre",
        pixels_sha256="",
        findings=findings,
        confidence=confidence,
        reason="",
        made_by=MadeBy(tool="describe"),
    )


def resources(sick: dict[int, Any], *, closer_mpp: float | None = 0.5, slide_mpp: float = 0.5) -> Any:
    """A run whose encoder maps the looks at x = 1000 n as `sick[n]`, and everything else as sound."""

    def disease_map(region: Region) -> Any:
        return sick.get(region.x // 1000, np.zeros((12, 12), np.float32))

    inside = SimpleNamespace(id="S1", mpp=slide_mpp, bounds=(0, 0, 9000, 9000))
    opened = SimpleNamespace(slide=inside, disease_map=disease_map)
    return SimpleNamespace(
        profile=SimpleNamespace(vlm=SimpleNamespace(closer_mpp=closer_mpp)),
        vlm=SimpleNamespace(tile_px=192, tile_mpp=1.0),
        slide=lambda _: opened,
    )


def spot(row: int, column: int, sure: float = 0.9) -> Any:
    cells = np.zeros((12, 12), np.float32)
    cells[row : row + 2, column : column + 2] = sure
    return cells


def test_disease_that_the_model_did_not_describe_is_looked_at_where_it_lies() -> None:
    ((region, reason),) = closer_looks(resources({2: spot(9, 1)}), [look(1), look(2)], 6)
    assert (region.mpp, region.width) == (0.5, 192), "96 µm across, on a slide of 0.5 µm per px"
    x, y = 2000 + (2 / 12) * 384, (10 / 12) * 384
    assert region.x <= x <= region.x + region.width and region.y <= y <= region.y + region.height
    assert region.x >= 2000 and region.x + region.width <= 2384, "it is part of the look"
    assert reason == (
        "closer at E2: part of it is disease to the encoder, and it was described as stroma; "
        "seen at 0.5 µm/px"
    )


def test_what_the_encoder_is_not_sure_of_is_no_reason() -> None:
    assert closer_looks(resources({1: spot(3, 3, sure=0.4)}), [look(1)], 6) == []
    assert closer_looks(resources({1: np.full((12, 12), np.nan, np.float32)}), [look(1)], 6) == []


def test_what_lies_under_an_artifact_is_not_seen_better_from_nearer() -> None:
    folded = [f.model_copy(update={"artifact": "fold"}) for f in (STROMA, TUMOUR)]
    looked = [look(i + 1, f) for i, f in enumerate(folded)]
    assert closer_looks(resources({1: spot(3, 3)}), looked, 6) == []


def test_the_nuclei_of_a_lesion_are_looked_at_once_and_in_its_surest_look() -> None:
    looked = [look(1, TUMOUR, confidence=0.6), look(2, TUMOUR, confidence=0.8), look(3)]
    ((region, reason),) = closer_looks(resources({}), looked, 6)
    assert reason == "closer at E2, to see the nuclei of its invasive tumour at 0.5 µm/px"
    taken = look(4, TUMOUR, **region.model_dump())
    assert closer_looks(resources({}), [*looked, taken], 6) == []


def test_a_look_is_not_taken_closer_twice_and_the_surest_come_first() -> None:
    run = resources({1: spot(3, 3, sure=0.6), 2: spot(3, 3, sure=0.9), 3: spot(3, 3, sure=0.8)})
    looked = [look(1), look(2), look(3)]
    first = closer_looks(run, looked, 6)
    assert [reason[:12] for _, reason in first] == ["closer at E2", "closer at E3"]
    taken = [look(4 + i, STROMA, **region.model_dump()) for i, (region, _) in enumerate(first)]
    assert [reason[:12] for _, reason in closer_looks(run, [*looked, *taken], 6)] == ["closer at E1"]
    assert len(closer_looks(run, looked, 1)) == 1


def test_two_looks_at_one_lesion_are_taken_closer_once() -> None:
    """Half a look apart, both hold the same sick cells."""
    beside = look(2, x=1192)
    run = resources({1: spot(5, 9, sure=0.9)})
    both = {1000: spot(5, 9, sure=0.9), 1192: spot(5, 3, sure=0.8)}
    run.slide("S1").disease_map = lambda region: both[region.x]
    (first,) = closer_looks(run, [look(1), beside], 6)
    assert first[1].startswith("closer at E1")
    assert closer_looks(run, [look(1), beside, look(3, **first[0].model_dump())], 6) == []


@pytest.mark.parametrize("limits", [{"closer_mpp": None}, {"slide_mpp": 0.75}])
def test_without_a_finer_scale_or_a_slide_that_has_it_there_is_no_closer_look(limits: Any) -> None:
    assert closer_looks(resources({1: spot(3, 3)}, **limits), [look(1, TUMOUR)], 6) == []


def test_where_the_encoder_does_not_know_the_tissue_the_middle_of_a_lesion_is_seen() -> None:
    run = resources({1: None})
    ((region, _),) = closer_looks(run, [look(1, TUMOUR)], 6)
    assert region.center == look(1).region.center


def test_what_is_counted_in_fields_counts_once() -> None:
    wide = look(1)
    again = look(2, x=1090, y=90, width=192, height=192, mpp=0.5)
    elsewhere = look(3, width=192, height=192, mpp=0.5)
    assert apart([wide, again, elsewhere]) == [wide, elsewhere]


def test_a_run_sees_the_nuclei_of_a_lesion_at_the_finer_scale_of_its_profile(
    lesion_slide: Path, tmp_path: Path
) -> None:
    profile = yaml.safe_load((PROFILES / f"{PROFILE}.yaml").read_text())
    profile["vlm"] |= {"tile_px": 96, "tile_mpp": 1.0, "closer_mpp": 0.5}
    path = tmp_path / "two-scales.yaml"
    path.write_text(yaml.safe_dump(profile))
    model = LookingModel()
    one_scale = tmp_path / "one-scale.yaml"
    one_scale.write_text(yaml.safe_dump(profile | {"vlm": profile["vlm"] | {"closer_mpp": None}}))
    report = draft_tiny(lesion_slide, vlm=model, profile=str(path))
    assert report.provenance["vlm"]["closer_mpp"] == 0.5
    without = draft_tiny(lesion_slide, profile=str(one_scale))
    assert without.provenance["run"] != report.provenance["run"], "another scale is another run"
    assert {e.region.mpp for e in without.evidence} == {1.0}
    (near,) = [e for e in report.evidence if e.region.mpp == 0.5]
    assert "to see the nuclei of its invasive tumour at 0.5 µm/px" in near.reason
    far = next(e for e in report.evidence if near.reason.startswith(f"closer at {e.id},"))
    assert far.region.mpp == 1.0 and far.region.meets(near.region)
    assert near.findings is not None and near.sentence, "it was described, not only shown"
    widths = {r.user.split("Field width ")[1].split(" um")[0] for r in model.asked if r.role == "describe"}
    assert widths == {"96", "48"}, "the model is told how wide the field is"


def test_a_closer_scale_that_is_no_finer_is_refused(tmp_path: Path) -> None:
    profile = yaml.safe_load((PROFILES / f"{PROFILE}.yaml").read_text())
    profile["vlm"] |= {"tile_mpp": 0.5, "closer_mpp": 0.5}
    path = tmp_path / "same.yaml"
    path.write_text(yaml.safe_dump(profile))
    with pytest.raises(UserError, match=r"closer_mpp 0\.5 must be finer than tile_mpp 0\.5: give 0\.25"):
        load_profile(str(path))
