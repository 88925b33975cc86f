"""The fact extractor reads what a report says, and not what it denies."""

import pytest

from pathagent_tools.core.scoring import facts

REPORT = (
    "The findings favour adenocarcinoma, grade 2. Irregular glands infiltrate the stroma. "
    "Nuclei are of intermediate grade. Mitoses are few. No necrosis is seen. There is mild inflammation."
)


def test_every_stated_fact_is_found() -> None:
    assert facts.extract(REPORT) == {
        "diagnosis": "adenocarcinoma",
        "grade": "grade 2",
        "architecture": "irregular glands",
        "nuclear_grade": "intermediate",
        "mitoses": "few",
        "necrosis": "absent",
        "inflammation": "mild",
    }


@pytest.mark.parametrize(
    ("text", "slot"),
    [
        ("There is no evidence of adenocarcinoma.", "diagnosis"),
        ("No solid nests are seen.", "architecture"),
        ("", "necrosis"),
        ("The patient was seen in clinic.", "mitoses"),
    ],
)
def test_what_is_denied_or_unsaid_is_not_a_fact(text: str, slot: str) -> None:
    assert slot not in facts.extract(text)


@pytest.mark.parametrize(
    ("text", "diagnosis"),
    [
        ("Mucinous adenocarcinoma, grade 1.", "mucinous carcinoma"),
        ("Poorly cohesive carcinoma.", "poorly cohesive carcinoma"),
        ("No significant abnormality is seen.", "no significant abnormality"),
        ("Tubular adenoma with low-grade dysplasia.", "adenoma"),
        ("No evidence of malignancy. Chronic inflammation, marked.", "chronic inflammation"),
    ],
)
def test_the_family_is_told_from_its_neighbours(text: str, diagnosis: str) -> None:
    assert facts.extract(text)["diagnosis"] == diagnosis


def test_an_empty_report_scores_nothing() -> None:
    reference = facts.extract(REPORT)
    assert facts.recall(facts.extract(""), reference) == 0
    assert facts.recall(reference, reference) == 1
    wrong = reference | {"necrosis": "present"}
    assert facts.compare(wrong, reference)["necrosis"] == "wrong"
    with pytest.raises(ValueError, match="at least one"):
        facts.recall(reference, {})
