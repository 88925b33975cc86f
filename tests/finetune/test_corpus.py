"""What the VLM is taught: targets fit the grammar, beliefs follow the evidence, held-out words stay out."""

import re
from random import Random

import pytest

from pathagent_finetune.corpus import belief, examples, sentences, simulate, verdicts
from pathagent_finetune.corpus.questions import UNKNOWABLE, Question, draw_question
from pathagent_finetune.corpus.wordings import wording_table
from pathagent_finetune.mix import OPEN_BELOW, text_example
from pathagent_tools.core.records import Findings
from pathagent_tools.core.scoring.report import values
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE
from pathagent_tools.phantom.questions import question_table
from pathagent_tools.vlm.schema_check import fault

HINTS = ("stroma", "solid tumour nests", "necrosis")


def look(**slots: str) -> Findings:
    plain = {
        "tissue": "stroma",
        "architecture": "none",
        "nuclear_grade": "none",
        "mitoses": "none",
        "necrosis": "absent",
        "inflammation": "none",
        "artifact": "none",
        "stain": "balanced",
    }
    return Findings.model_validate(plain | slots)


def ledger(*looks: Findings) -> list[simulate.Evidence]:
    return [simulate.evidence_of(i + 1, f, "centre") for i, f in enumerate(looks)]


TUMOUR = look(tissue="invasive tumour", architecture="solid nests", nuclear_grade="high", mitoses="many")


@pytest.mark.parametrize("seed", range(40))
def test_every_target_is_an_answer_that_the_schema_allows(seed: int) -> None:
    rng = Random(seed)
    case = simulate.draw_case(seed)
    asked = draw_question(rng, diagnosis=case.diagnosis)
    made = [
        examples.describe_example(simulate.random_findings(rng), 0, rng),
        verdicts.verify_example(case.evidence[0].findings or look(), rng, tile=0),
        examples.diagnose_example(case, rng),
        examples.judge_example(case, rng),
        examples.write_example(case, rng),
        verdicts.verify_answer_example(asked, case.evidence[0].findings or look(), rng),
        examples.navigate_example(seed, HINTS, rng),
        examples.answer_example(case, asked, rng),
    ]
    for example in made:
        assert fault(example.target, example.request.schema) is None, example.target_text


def test_belief_follows_the_evidence() -> None:
    tumour = belief.differential(ledger(*[TUMOUR] * 3, *[look()] * 5))[0]
    assert (tumour.diagnosis, tumour.grade) == ("solid carcinoma", "grade 3")
    assert tumour.probability > 0.9
    normal = belief.differential(ledger(*[look()] * 12))[0]
    assert normal.diagnosis == "no significant abnormality"


def test_one_misread_look_is_not_yet_a_settled_tumour() -> None:
    single = look(tissue="invasive tumour", architecture="irregular glands", nuclear_grade="low")
    few = ledger(single, *[look()] * 3)
    settled = ledger(*[TUMOUR] * 4, *[look()] * 6)
    assert belief.differential(few)[0].probability < belief.differential(settled)[0].probability
    assert belief.sufficiency(settled)[0]
    assert not belief.sufficiency(ledger(*[look()] * 3))[0]


@pytest.mark.parametrize("seed", range(60))
def test_report_sentences_say_what_the_ledger_shows(seed: int) -> None:
    case = simulate.draw_case(seed)
    leading = belief.differential(case.evidence)[0]
    expected = {k: v for k, (v, _) in belief.report_facts(case.evidence, leading).items()}
    written = sentences.report_sentences(case.evidence, leading, Random(seed))
    found = [values(str(s["text"])) for s in written]
    for slot, value in (expected | {"diagnosis": leading.diagnosis}).items():
        assert {value} in [sentence.get(slot) for sentence in found]
    known = {e.id for e in case.evidence}
    assert all(s["cites"] and set(s["cites"]) <= known for s in written)  # type: ignore[arg-type, call-overload]


def test_tumour_in_other_fields_is_more_of_the_tumour_and_not_other_tissue() -> None:
    other = look(tissue="invasive tumour", architecture="irregular glands", nuclear_grade="low")
    looks = ledger(*[TUMOUR] * 6, other, look(tissue="stroma", architecture="none", nuclear_grade="none"))
    leading = belief.differential(looks)[0]
    assert leading.diagnosis == "solid carcinoma"
    for seed in range(8):
        named = [
            sentences.named_elsewhere(str(s["text"]))
            for s in sentences.report_sentences(looks, leading, Random(seed))
        ]
        assert [n for n in named if n] == [["stroma"]]


@pytest.mark.parametrize("seed", range(60))
def test_every_look_that_a_sentence_cites_shows_what_it_says(seed: int) -> None:
    rng = Random(seed)
    case = simulate.draw_case(seed)
    by_id = {e.id: e for e in case.evidence}
    leading = belief.differential(case.evidence)[0]
    for slot, (value, looks) in belief.report_facts(case.evidence, leading).items():
        assert looks
        assert all(belief.shows(by_id[e.id].findings or look(), slot, value) for e in looks)
    drill = examples.cite_example(seed, rng)
    if drill.request.role == "write":
        lines = dict(re.findall(r"^(E[0-9]+) (.*)$", drill.request.user, flags=re.MULTILINE))
        for sentence in drill.target["sentences"]:
            for grade in values(sentence["text"]).get("nuclear_grade", ()):
                assert all(f"grade {grade}" in lines[i] for i in sentence["cites"])


def test_a_verdict_is_what_was_said_beside_what_was_seen() -> None:
    assert verdicts.verdict("single files", "single files") == "supported"
    assert verdicts.verdict("stroma, adipose", "adipose") == "supported"
    assert verdicts.verdict("single files", "solid nests") == "contradicted"
    assert verdicts.verdict("solid carcinoma", "no significant abnormality") == "unsupported"
    assert verdicts.verdict("no significant abnormality", "solid carcinoma") == "contradicted"
    assert verdicts.verdict("grade high", "grade none") == "unsupported"


@pytest.mark.parametrize("seed", range(60))
def test_what_a_verification_sees_is_in_the_look(seed: int) -> None:
    rng = Random(seed)
    findings = simulate.random_findings(rng)
    example = verdicts.verify_example(findings, rng)
    seen = example.target["seen"].split(" ", 1)[-1]
    words = {*findings.model_dump().values(), verdicts.family_of(findings)}
    assert any(seen in word for word in words) or findings.inflammation == "marked"
    assert example.target["verdict"] == verdicts.verdict(example.target["said"], example.target["seen"])


def test_mitoses_and_inflammation_are_those_of_the_lesion() -> None:
    inflamed = look(inflammation="marked")
    looks = ledger(*[TUMOUR] * 4, *[inflamed] * 6)
    leading = belief.differential(looks)[0]
    facts_of = {k: v for k, (v, _) in belief.report_facts(looks, leading).items()}
    assert facts_of["inflammation"] == "none"
    assert facts_of["mitoses"] == "many"


def test_held_out_wordings_are_never_drawn() -> None:
    table = question_table()
    asked = {draw_question(Random(i), diagnosis="adenoma").text for i in range(4000)}
    for language, words in table["languages"].items():
        for pattern in ("presence", "value"):
            for held_out in words[pattern][-table["held_out"][language] :]:
                start = held_out.split("{")[0]
                assert len(start) < 4 or not any(text.startswith(start) for text in asked)


def test_answers_from_a_few_looks_are_as_often_yes_as_no() -> None:
    drawn = [text_example(i, {"answer": 1.0}, narrow=1.0) for i in range(600)]
    ledgers = [re.findall(r"^(E[0-9]+) (.*)$", e.request.user, flags=re.MULTILINE) for e in drawn]
    assert {len(lines) for lines in ledgers} == {1, 2, 3}
    assert len({lines[0][0] for lines in ledgers}) > 10
    fat = [
        (e.target["answer"], dict(x))
        for e, x in zip(drawn, ledgers, strict=True)
        if e.target["about"] == "adipose"
    ]
    assert all((said == "yes") == any(x.startswith("adipose") for x in lines.values()) for said, lines in fat)
    assert 0.35 < sum(said == "yes" for said, _ in fat) / len(fat) < 0.7


def test_no_rewording_is_a_wording_that_is_held_out() -> None:
    table, ours = question_table(), wording_table()
    assert set(ours) == set(table["languages"])
    for language, words in table["languages"].items():
        for pattern in ("presence", "value"):
            held_out = {w.casefold() for w in words[pattern][-table["held_out"][language] :]}
            assert held_out.isdisjoint(w.casefold() for w in ours[language][pattern])


def test_a_reworded_question_keeps_its_topic_and_can_be_put_in_many_ways() -> None:
    asked = [draw_question(Random(i), diagnosis="adenoma", reword=1.0) for i in range(3000)]
    fat = {q.text for q in asked if q.topic == "adipose"}
    assert len(fat) > 60
    words = [w for t in wording_table().values() for w in t["names"].get("adipose", ())]
    words += [t["items"]["adipose"] for t in question_table()["languages"].values()]
    assert all(any(w.casefold() in text.casefold() for w in words) for text in fat)


def test_what_a_slide_cannot_tell_is_taught_as_such() -> None:
    case = simulate.draw_case(3)
    asked = Question("not_assessable", UNKNOWABLE[0], "Is HER2 positive?", ())
    assert examples.answer_example(case, asked, Random(0)).target == {
        "about": UNKNOWABLE[0],
        "seen": "not on H&E",
        "class": "cannot be told from this slide",
        "answer": NOT_ASSESSABLE,
        "cites": [],
    }


@pytest.mark.parametrize("seed", range(60))
def test_navigation_prefers_only_the_tissue_that_the_goal_names_by_whole_words(seed: int) -> None:
    hints = ("normal glands", "stroma")
    made = examples.navigate_example(seed, hints, Random(seed))
    if "abnormal glands" in made.request.user:
        assert "matches the goal" not in made.target["reason"]


@pytest.mark.parametrize("seed", range(80))
def test_an_answer_follows_from_what_it_says_is_seen(seed: int) -> None:
    rng = Random(seed)
    case = simulate.draw_case(seed)
    leading = belief.differential(case.evidence)[0]
    asked = draw_question(rng, diagnosis=leading.diagnosis)
    example = examples.answer_example(case, asked, rng)
    seen, said, cites = (example.target[key] for key in ("seen", "answer", "cites"))
    lines = dict(re.findall(r"^(E[0-9]+) (.*)$", example.request.user, flags=re.MULTILINE))
    assert example.target["about"] == asked.topic
    if asked.topic in ("necrosis", "mitoses", "adipose", "mucin"):
        assert (said == "yes") == (seen == f"{asked.topic} in {cites[0]}")
        assert (said == "yes") == any(asked.topic in line for line in lines.values())
    elif asked.kind == "yesno":
        assert seen == leading.diagnosis
    elif asked.kind == "count":
        assert seen in example.request.user
        assert seen.split()[0] == said
    elif asked.kind == "where" and said in simulate.PLACES:
        assert seen.split(", ").count(said) == max(map(seen.split(", ").count, simulate.PLACES))


def test_what_is_asked_for_is_looked_for_until_many_looks_lack_it() -> None:
    asked = Question("yesno", "adipose", "Siehst du Fettgewebe?", ())

    def judged(looks: int, *more: Findings) -> dict[str, object]:
        tumour = [TUMOUR] * 4
        plain = [look()] * (looks - 4 - len(more))
        case = simulate.Case("solid carcinoma", "grade 3", tuple(ledger(*tumour, *plain, *more)), 3.0, 1)
        return dict(examples.judge_example(case, Random(0), asked).target)

    absent = {"about": "adipose", "sufficient": False, "missing": "fields that show adipose"}
    assert judged(8) == absent | {"seen": "none after 8 looks"}
    assert judged(12) == absent | {"seen": "none after 12 looks", "sufficient": True, "missing": ""}
    shown = judged(8, look(tissue="adipose", architecture="none", nuclear_grade="none"))
    assert shown == {"about": "adipose", "seen": "adipose in E8", "sufficient": True, "missing": ""}


def test_half_of_the_weighing_is_on_ledgers_that_leave_the_diagnosis_open() -> None:
    drawn = [text_example(i, {"diagnose": 1.0}).target["differential"][0]["percent"] for i in range(200)]
    assert 0.4 < sum(p < 100 * OPEN_BELOW for p in drawn) / len(drawn) < 0.8
