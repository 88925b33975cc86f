"""The scorer cannot be fooled by silence, by wrong places, or by answers that only look right."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pathagent_eval import questions, reports
from pathagent_eval.controls import BlankImages
from pathagent_eval.grounding import TrueLook, all_shown, statement
from pathagent_eval.lesions import looked_at, on_background
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Completion, ModelRequest
from pathagent_tools.core.records import Findings
from pathagent_tools.phantom.classes import GLASS
from pathagent_tools.vlm import roles

CLASSES = np.zeros((10, 10), np.uint8)
CLASSES[:, :5] = 2
TRUTH = SimpleNamespace(
    mpp=0.5,
    lesion_polygons=(((0, 0), (100, 0), (100, 100), (0, 100)),),
    tissue_map=SimpleNamespace(array=lambda: CLASSES, um_per_cell=16.0),
)


def report(x: int, y: int) -> SimpleNamespace:
    region = Region(slide="S1", x=x, y=y, width=64, height=64, mpp=1)
    return SimpleNamespace(evidence=[SimpleNamespace(region=region)])


def test_a_look_beside_the_lesion_is_not_a_hit() -> None:
    assert looked_at(report(50, 50), TRUTH) is True  # type: ignore[arg-type]
    assert looked_at(report(150, 0), TRUTH) is False  # type: ignore[arg-type]
    assert looked_at(SimpleNamespace(evidence=[]), TRUTH) is False  # type: ignore[arg-type]
    TRUTH_NONE = SimpleNamespace(lesion_polygons=())
    assert looked_at(report(0, 0), TRUTH_NONE) is None  # type: ignore[arg-type]


def test_background_is_told_from_tissue() -> None:
    inside, outside = (Region(slide="S1", x=x, y=0, width=64, height=64, mpp=1) for x in (0, 250))
    assert not on_background(inside, TRUTH)  # type: ignore[arg-type]
    assert on_background(outside, TRUTH)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "right"), [("yes", True), ("Yes.", True), ("", False), ("yes or no", False)]
)
def test_only_the_answer_itself_is_right(said: str, right: bool) -> None:
    assert questions.same_answer(said, "yes") is right


def test_a_blind_model_gets_no_pixels() -> None:
    seen: list[ModelRequest] = []

    class Recorder:
        id, revision, tile_px, tile_mpp = "recorder", "0", 192, 1.0

        def generate(self, requests: list[ModelRequest]) -> list[Completion]:
            seen.extend(requests)
            return []

    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    BlankImages(Recorder()).generate([roles.describe(image, field_um=192)])
    assert (seen[0].images[0] == 255).all()
    assert seen[0].user == roles.describe(image, field_um=192).user


LOOK = Findings.model_validate(
    {
        "tissue": "invasive tumour",
        "architecture": "solid nests",
        "nuclear_grade": "high",
        "mitoses": "few",
        "necrosis": "absent",
        "inflammation": "none",
        "artifact": "none",
        "stain": "balanced",
    }
)


@pytest.mark.parametrize(
    ("text", "lesion", "shown"),
    [
        ("Invasive tumour grows in solid nests.", True, True),
        ("Tumour cells run in single files.", True, False),
        ("The nuclear grade is high.", True, True),
        ("Many mitoses are seen.", True, False),
        ("No necrosis is seen.", True, True),
        ("Solid carcinoma, grade 3.", True, True),
        ("Solid carcinoma, grade 3.", False, False),
        ("The fields examined show no significant abnormality.", True, False),
        ("Elsewhere there is stroma and adipose.", True, False),
        ("Elsewhere there is stroma.", True, True),
        ("Elsewhere there is benign epithelium.", True, False),
        ("Elsewhere there is stroma and invasive tumour.", True, True),
        ("Elsewhere there is stroma, invasive tumour and necrosis.", True, False),
    ],
)
def test_a_claim_is_grounded_where_the_look_truly_shows_it(text: str, lesion: bool, shown: bool) -> None:
    look = TrueLook(findings=LOOK, tissues=("invasive tumour", "stroma"), lesion=lesion)
    assert all_shown(text, [look]) is shown


def test_each_tissue_of_a_list_is_shown_by_a_look_of_its_own() -> None:
    looks = [
        TrueLook(findings=LOOK, tissues=tissues, lesion=False)
        for tissues in (("stroma", "benign epithelium"), ("necrosis",))
    ]
    assert all_shown("Elsewhere there is benign epithelium and necrosis.", looks)
    assert not all_shown("Elsewhere there is benign epithelium and necrosis.", looks[:1])
    assert not all_shown("Elsewhere there is benign epithelium and mucin.", looks)


def test_a_sentence_that_states_nothing_is_not_counted_as_shown() -> None:
    assert statement("The specimen was received.") == {}


def test_tiny_lesions_are_about_one_percent_of_the_tissue_at_most() -> None:
    planned = [p for p in reports.plan(1, 1, 2) if p.tiny]
    assert [p.size for p in planned] == ["standard", "standard"]
    for phantom in (p.phantom() for p in planned):
        tissue = phantom.layout.zones != GLASS
        assert 0 < phantom.diseased.mask.sum() < 0.015 * tissue.sum()


def test_an_evaluation_that_was_stopped_can_be_typed_again(tmp_path: Path) -> None:
    left = tmp_path / "alone" / "truth.json"
    left.parent.mkdir()
    left.touch()
    planned = reports.Planned(seed=5, size="small", held_out_scanner=False)
    slide, _, _ = reports.make_case(planned, tmp_path)
    assert list(slide.parent.iterdir()) == [slide]


def test_drafts_and_references_can_be_scored_as_texts_and_an_abstention_stays() -> None:
    drafted = SimpleNamespace(size="small", seed=8, text="Adenoma.", reference="Tubular adenoma.")
    silent = SimpleNamespace(size="small", seed=9, text="", reference="No lesion.")
    found = reports.texts([drafted, silent])  # type: ignore[list-item]
    assert [row["status"] for row in found["predictions"]] == ["report", "abstained"]
    assert [row["case"] for row in found["references"]] == ["small-8", "small-9"]
