"""Floors are as high as one gets without looking, and never know the answer itself."""

from __future__ import annotations

from pathagent_eval.bench.benchmark import load
from pathagent_eval.bench.floors import floors_of
from pathagent_eval.bench.item import Item, Said
from pathagent_eval.bench.score import score


def texts(said: list[Said]) -> list[str | None]:
    return [s.text for s in said]


def reports() -> list[Item]:
    organs = {"Breast": "Fibroadenoma", "Colon": "Tubular adenoma"}
    return [
        Item(
            id=f"{organ}-{n}",
            cluster=f"{organ}-{n}",
            reference=f"{organ}, biopsy; {usual if n < 5 else 'Hyperplastic polyp'}",
        )
        for organ, usual in organs.items()
        for n in range(7)
    ]


def test_the_organ_is_known_and_its_commonest_report_beats_the_commonest_of_all() -> None:
    items = reports()
    floors = floors_of(load("reg2025"), items)
    assert texts(floors["commonest of the organ"])[:1] == ["Breast, biopsy; Fibroadenoma"]
    assert texts(floors["commonest of the organ"])[-1:] == ["Colon, biopsy; Tubular adenoma"]
    result = score(load("reg2025"), items, [Said(id=i.id, text="") for i in items], rounds=20)
    f1 = {name: numbers["fact_f1"].value for name, numbers in result.systems.items()}
    assert f1["commonest of the organ"] > f1["commonest"]
    assert result.best_floor == "commonest of the organ"


def test_an_organ_or_a_topic_of_few_patients_gives_no_answer_away() -> None:
    rare = Item(id="r", cluster="r", reference="Kidney, biopsy; Oncocytoma")
    said = floors_of(load("reg2025"), [*reports(), rare])["commonest of the organ"][-1]
    assert "Oncocytoma" not in str(said.text)
    asked = [
        Item(id=f"q{n}", cluster=f"p{n}", topic="size", reference="small", options=("small", "large"))
        for n in range(6)
    ]
    odd = Item(id="odd", cluster="odd", topic="place", reference="large", options=("large", "small"))
    floors = floors_of(load("phantom_vqa"), [*asked, odd])
    assert floors["commonest"][-1].text == "small"
    assert floors["another's answer"][-1].text == "small"


def test_a_topic_of_many_patients_has_a_commonest_answer_of_its_own() -> None:
    items = [
        Item(id=f"{topic}{n}", cluster=f"{topic}{n}", topic=topic, reference=answer, options=("yes", "no"))
        for topic, answer in {"necrosis": "no", "tumour": "yes"}.items()
        for n in range(6)
    ]
    said = texts(floors_of(load("phantom_vqa"), items)["commonest"])
    assert said == ["no"] * 6 + ["yes"] * 6
