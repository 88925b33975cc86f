"""Passages are found by what the draft considers, and none is shown that does not speak of it."""

from __future__ import annotations

from pathlib import Path

import report_cases

from pathagent.compare.criteria import Search, find_passages, searches_of
from pathagent.compare.knowledge import Knowledge
from pathagent_tools.core.records import Hypothesis

TEXTS = {
    "colon.md": "# Colon\n## Adenocarcinoma\nInvasion of the submucosa by irregular glands.\n"
    "## Adenoma\nDysplastic glands without invasion.",
    "mucin.md": "Mucinous carcinoma holds mucin in more than half of it. A carcinoma.",
    "other.txt": "A carcinoma of some kind with mucinous change, of which much more could be said here.",
}
FOLDER = Knowledge(Path("folder"), TEXTS)


def hypothesis(diagnosis: str, probability: float, grade: str = "none") -> Hypothesis:
    return Hypothesis(diagnosis=diagnosis, grade=grade, probability=probability)


def test_each_search_finds_its_passages_best_first_and_each_once() -> None:
    found = find_passages(
        FOLDER, [Search("adenocarcinoma"), Search("mucinous carcinoma"), Search("invasion")]
    )
    assert [(p.id, p.file, p.asked) for p in found] == [
        ("P1", "colon.md", ("adenocarcinoma", "invasion")),
        ("P2", "mucin.md", ("mucinous carcinoma",)),
        ("P3", "other.txt", ("mucinous carcinoma",)),
        ("P4", "colon.md", ("invasion",)),
    ]
    assert found[0].heading == "Colon › Adenocarcinoma" and found[3].heading == "Colon › Adenoma"
    assert found[1].score > found[2].score > 0


def test_a_word_of_two_is_not_enough_and_unknown_words_find_nothing() -> None:
    assert find_passages(FOLDER, [Search("signet carcinoma")]) == []
    assert find_passages(FOLDER, [Search("glioblastoma", "glands"), Search(""), Search("the of")]) == []


def test_words_that_only_rank_put_the_passage_with_the_findings_first() -> None:
    plain = find_passages(FOLDER, [Search("glands")])
    ranked = find_passages(FOLDER, [Search("glands", "irregular submucosa")])
    assert {p.heading for p in plain} == {p.heading for p in ranked}
    assert ranked[0].heading == "Colon › Adenocarcinoma"
    assert find_passages(FOLDER, [Search("glands", "dysplastic")])[0].heading == "Colon › Adenoma"


def test_a_draft_asks_for_its_likely_hypotheses_and_its_findings() -> None:
    looks = [
        report_cases.evidence(1),
        report_cases.evidence(2, findings=report_cases.findings(tissue="stroma", architecture="none")),
        report_cases.evidence(3, findings=None),
    ]
    differential = [
        hypothesis("adenocarcinoma", 0.6, "grade 2"),
        hypothesis("adenocarcinoma", 0.2, "grade 3"),
        hypothesis("adenoma", 0.15),
        hypothesis("melanoma", 0.05),
    ]
    assert searches_of(differential, looks) == [
        Search("adenocarcinoma", "grade 2, invasive tumour, irregular glands, stroma"),
        Search("adenoma", "invasive tumour, irregular glands, stroma"),
        Search("invasive tumour, irregular glands"),
    ]
    assert searches_of([], []) == []
