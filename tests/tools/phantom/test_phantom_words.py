"""Reference reports say the truth in every wording; questions have their right answers."""

from __future__ import annotations

import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import DIAGNOSES, NOT_ASSESSABLE
from pathagent_tools.phantom.questions import (
    LANGUAGES,
    UNKNOWABLE_ATTRIBUTES,
    UNKNOWABLE_ITEMS,
    question_table,
    questions,
)
from pathagent_tools.phantom.reports import reference_report, report_wordings, wording_count
from pathagent_tools.phantom.truth import PhantomTruth, truth_of
from pathagent_tools.phantom.world import make_phantom


@pytest.fixture(scope="module")
def truths() -> dict[str, PhantomTruth]:
    return {family: truth_of(make_phantom(40 + i, diagnosis=family)) for i, family in enumerate(DIAGNOSES)}


def test_every_wording_states_diagnosis_and_grade(truths: dict[str, PhantomTruth]) -> None:
    assert wording_count() >= 6 and sum(w["held_out"] for w in report_wordings()) >= 2
    for truth in truths.values():
        texts = [reference_report(truth, i)["text"] for i in range(wording_count())]
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert truth.diagnosis in text.lower() and "{" not in text
            assert truth.grade == "none" or truth.grade in text
            assert "lesion is" not in text or truth.facts.lesion == "present"


def test_unknown_wording_is_refused(truths: dict[str, PhantomTruth]) -> None:
    with pytest.raises(UserError, match="0 to"):
        reference_report(truths["adenoma"], 99)


def test_facts_follow_the_family(truths: dict[str, PhantomTruth]) -> None:
    assert truths["adenoma"].facts.architecture == "crowded glands"
    assert truths["no significant abnormality"].facts.lesion == "absent"
    assert truths["no significant abnormality"].mitoses == 0
    assert truths["solid carcinoma"].nuclei["tumour"] > 0


def test_answers_are_right(truths: dict[str, PhantomTruth]) -> None:
    for family, truth in truths.items():
        answers = {(q.topic, q.language): q for q in questions(truth)}
        english = {topic: q for (topic, language), q in answers.items() if language == "en"}
        assert english["invasive tumour"].answer == ("yes" if "carcinoma" in family else "no")
        assert english["dysplasia"].answer == ("yes" if family == "adenoma" else "no")
        assert english["diagnosis"].answer == family and family in english["diagnosis"].options
        assert english["pieces"].answer == str(truth.pieces)
        assert ("grade" in english) == (truth.grade != "none")


def test_what_h_and_e_cannot_show_is_never_answered(truths: dict[str, PhantomTruth]) -> None:
    asked = questions(truths["adenocarcinoma"])
    for topic in UNKNOWABLE_ITEMS + UNKNOWABLE_ATTRIBUTES:
        same = [q for q in asked if q.topic == topic]
        assert len(same) == 2
        assert all(q.answer == NOT_ASSESSABLE and q.kind == "not_assessable" for q in same)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_words_every_topic(language: str) -> None:
    table = question_table()["languages"]
    words, english = table[language], table["en"]
    assert words["items"].keys() == english["items"].keys()
    assert words["attributes"].keys() == english["attributes"].keys()
    least = 6 if language == "en" else 2
    held_out = question_table()["held_out"][language]
    for pattern in ("presence", "value"):
        assert len(words[pattern]) - held_out >= least and held_out >= 1
        assert all(p.count("{") == 1 for p in words[pattern])


def test_ids_are_unique(truths: dict[str, PhantomTruth]) -> None:
    for truth in truths.values():
        ids = [q.id for q in questions(truth)]
        assert len(set(ids)) == len(ids)
