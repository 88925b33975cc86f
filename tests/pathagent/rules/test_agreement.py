"""A check is held to the words in which it named what is said and what is seen."""

from __future__ import annotations

import pytest

from pathagent.rules.agreement import doubt, of_artifacts, open_grade, verdict_of
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence, Findings, MadeBy, Measurement


@pytest.mark.parametrize(
    ("said", "seen", "verdict", "held_to"),
    [
        ("stroma", "stroma", "contradicted", "supported"),
        ("stroma, adipose", "adipose", "unsupported", "supported"),
        ("stroma", "invasive tumour", "supported", "contradicted"),
        ("benign epithelium, smooth muscle", "dysplastic epithelium", "supported", "contradicted"),
        ("grade low", "grade high", "supported", "contradicted"),
        ("grade low", "grade none", "supported", "unsupported"),
        ("mucin present", "mucin absent", "supported", "contradicted"),
        ("adenoma", "no significant abnormality", "supported", "unsupported"),
        ("upper left", "centre", "supported", "contradicted"),
        ("necrosis absent", "mitoses many", "supported", "supported"),
        ("the claim", "the look", "supported", "supported"),
        ("solid growth", "nests of cells", "contradicted", "contradicted"),
    ],
)
def test_the_verdict_follows_what_was_named(said: str, seen: str, verdict: str, held_to: str) -> None:
    assert verdict_of({"said": said, "seen": seen, "verdict": verdict}) == held_to


def test_an_unusable_answer_is_no_verdict() -> None:
    assert verdict_of(None) == verdict_of({}) == ""


def look(
    tissue: str = "stroma", artifact: str = "none", *, grades: tuple[str, int] = ("none", 0), **shares: float
) -> Evidence:
    slots = dict.fromkeys(("architecture", "mitoses", "inflammation"), "none") | {"nuclear_grade": grades[0]}
    found = {"tissue": tissue, "artifact": artifact, "necrosis": "absent", "stain": "balanced", **slots}
    read = [Measurement(name=f"share_of_{t}", label=t, value=v, unit="%") for t, v in shares.items()]
    if grades[1]:
        read.append(Measurement(name="tumour_grade", label="grade", value=grades[1], unit="1"))
    return Evidence(
        id="E1",
        region=Region(slide="S1", x=0, y=0, width=384, height=384, mpp=1.0),
        place="centre",
        pixels_sha256="",
        findings=Findings.model_validate(found),
        measurements=tuple(read),
        reason="",
        made_by=MadeBy(tool="describe"),
    )


def test_a_look_under_an_artifact_or_read_in_two_ways_is_not_sound() -> None:
    assert doubt(look()) == "" == doubt(look(stroma=80, mucin=20))
    assert doubt(look(artifact="blur", stroma=80)) == "blur"
    assert doubt(look("benign epithelium", stroma=60, benign_epithelium=30, invasive_tumour=9)) == (
        "described as benign epithelium, invasive tumour to the encoder"
    )


def test_what_is_said_of_an_artifact_rests_on_a_look_that_has_it() -> None:
    assert of_artifacts("Part of the tissue is folded.") and of_artifacts("Pen marks; bubbles.")
    assert not of_artifacts("Tumour cells run in single files.")
    assert not of_artifacts("Open nuclei in an adenocarcinoma depend on the stain.")


def test_a_grade_that_model_and_encoder_give_differently_over_all_looks_is_left_open() -> None:
    def tumours(*grades: tuple[str, int]) -> list[Evidence]:
        return [look("invasive tumour", grades=pair) for pair in grades]

    assert open_grade(tumours(("low", 2), ("low", 1), ("intermediate", 2))) == (
        "most looks show low nuclear grade to the model, intermediate to the encoder"
    )
    assert open_grade(tumours(("low", 2), ("low", 1), ("high", 1))) == ""
    assert open_grade(tumours(("low", 2), ("intermediate", 1))) == "", "a tie of both is no difference"
    assert open_grade([*tumours(("low", 0)), look(grades=("low", 3))]) == "", "nobody read these twice"


def test_necrosis_that_is_said_to_be_there_needs_both_readings() -> None:
    tumour = look("invasive tumour", invasive_tumour=90)
    assert doubt(tumour, "There is necrosis.") == "no necrosis to the encoder"
    assert doubt(tumour, "No necrosis is seen.") == "" == doubt(tumour, "The tumour forms solid nests.")
    assert doubt(look("invasive tumour", invasive_tumour=80, necrosis=9), "Necrosis is present.") == ""
    assert doubt(look("invasive tumour"), "There is necrosis.") == ""
