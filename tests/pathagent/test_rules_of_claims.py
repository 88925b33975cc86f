"""What code decides about a model's sentences, whatever the model says."""

from types import SimpleNamespace

from pathagent.agents.diagnosis import conclude, differential_of, without_grade
from pathagent.agents.writing import _figure, names
from pathagent.batches.work import report_text
from pathagent.state import ModelCall
from pathagent_tools.core.records import Claim, Hypothesis, Sufficiency


def call(data: dict) -> ModelCall:
    return ModelCall(key="k", role="diagnose", prompt_sha256="", text="", data=data)


def hypothesis(diagnosis: str, percent: int) -> dict:
    return {"diagnosis": diagnosis, "grade": "none", "percent": percent}


def test_a_differential_is_summed_scaled_and_sorted() -> None:
    items = [hypothesis("adenoma", 60), hypothesis("adenocarcinoma", 100), hypothesis("adenoma", 40)]
    found = differential_of(call({"differential": [*items, hypothesis("", 90)]}))
    assert [(h.diagnosis, h.probability) for h in found] == [("adenoma", 0.5), ("adenocarcinoma", 0.5)]
    kept = differential_of(call({"differential": [hypothesis("adenoma", 60)]}))
    assert kept[0].probability == 0.6


def test_a_grade_left_open_leaves_each_carcinoma_once_and_dysplasia_as_it_is() -> None:
    given = [("solid carcinoma", "grade 1", 0.5), ("adenoma", "low-grade dysplasia", 0.1)]
    given.append(("solid carcinoma", "grade 2", 0.4))
    found = without_grade([Hypothesis(diagnosis=d, grade=g, probability=p) for d, g, p in given])
    assert [(h.text, h.probability) for h in found] == [
        ("solid carcinoma", 0.9),
        ("adenoma, low-grade dysplasia", 0.1),
    ]


def test_doubt_ends_in_abstention() -> None:
    enough, lacking = Sufficiency(sufficient=True), Sufficiency(sufficient=False, missing="mitoses")

    def outcome(probability: float, judged: Sufficiency) -> str:
        return conclude([Hypothesis(diagnosis="adenoma", probability=probability)], judged)[0]

    assert outcome(0.55, enough) == "report"
    assert outcome(0.55, lacking) == "insufficient evidence"
    assert outcome(0.8, lacking) == "report"
    assert outcome(0.3, enough) == "insufficient evidence"
    assert conclude([], enough)[0] == "insufficient evidence"


def test_a_diagnosis_is_found_as_a_whole_word() -> None:
    assert names("The findings favour Adenoma.", "adenoma")
    assert not names("The findings favour adenocarcinoma.", "adenoma")


def test_densities_are_written_out() -> None:
    assert [_figure(v) for v in (10720.4, 2168, 28.24, 0.5)] == ["10,720", "2,168", "28.24", "0.5"]


def test_only_sentences_that_stand_are_scored() -> None:
    def said(text: str, verdict: str, writer: str = "model", section: str = "microscopy") -> Claim:
        told = {"id": "C1", "section": section, "text": text, "verdict": verdict, "written_by": writer}
        return Claim.model_validate(told)

    claims = (
        said("Adenoma.", "supported", section="diagnosis"),
        said("Necrosis is seen.", "unsupported"),
        said("Solid nests.", "contradicted"),
        said("HER2 is positive.", "not assessable"),
        said("Mitoses are few.", "supported", "rule"),
        said("Nuclei: 2,000 per mm².", "supported", "rule", "measurements"),
    )
    draft = SimpleNamespace(outcome="report", claims=claims)
    assert report_text(draft) == "Adenoma.\nMitoses are few."  # type: ignore[arg-type]
