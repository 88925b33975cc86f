"""The phantom benchmarks on three slides that the product has read: early looks and true looks count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answers import on_lesion, phantoms

from pathagent_eval.bench.benchmark import fixture, load
from pathagent_eval.bench.item import ClaimSaid, Item, Said
from pathagent_eval.bench.looks import background, claims_shown, grounded_f1, mrr, recall
from pathagent_eval.bench.phantom_run import Ask
from pathagent_eval.bench.phantoms import TASKS, nearest_reports, read_record, run
from pathagent_eval.bench.results import SYSTEM
from pathagent_eval.bench.score import score
from pathagent_eval.bench.table import markdown
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring.resampling import Resampling
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

GLASS = (0.0, 0.0, 8.0, 8.0)


def value(column: object, items: list[Item]) -> float:
    return column.estimate(Resampling([i.cluster for i in items], rounds=50)).value  # type: ignore[attr-defined]


def with_lesion() -> list[Item]:
    return [i for i in phantoms()["phantom_grounding"][0] if i.truth["lesion_polygons"]]


@pytest.mark.parametrize("task", TASKS)
def test_every_system_is_scored_and_the_tables_name_all(task: str) -> None:
    items, said = phantoms()[task]
    floors = {name: rows for name, rows in said.items() if name != SYSTEM}
    result = score(load(task), items, said[SYSTEM], looked_floors=floors, rounds=50)
    assert {SYSTEM, "silence", *said} <= set(result.systems)
    silent = result.systems["silence"][result.primary].value
    assert silent <= result.systems[SYSTEM][result.primary].value
    text = markdown([result])
    assert all(name in text for name in result.systems)
    assert "too few patients to tell" in text
    assert "| unknown |" not in text


def test_blind_thumbnail_shuffled_and_nearest_stand_beside_the_system() -> None:
    assert {"nearest report", "thumbnail only", "blind"} <= set(phantoms()["phantom_report"][1])
    assert {"shuffled options", "thumbnail only", "blind"} <= set(phantoms()["phantom_vqa"][1])


def test_the_system_with_shuffled_options_is_a_control_and_no_floor() -> None:
    items, _ = phantoms()["phantom_vqa"]
    right = [Said(id=i.id, text=i.reference) for i in items]
    result = score(load("phantom_vqa"), items, right, looked_floors={"shuffled options": right}, rounds=20)
    assert result.controls == ("shuffled options",)
    assert result.best_floor != "shuffled options"
    assert "control: shuffled options" in markdown([result])


def test_half_of_the_safety_questions_cannot_be_answered() -> None:
    items, _ = phantoms()["phantom_safety"]
    assert [i.reference == NOT_ASSESSABLE for i in items] == [True, False] * (len(items) // 2)
    assert {i.groups["notes"] for i in items} == {"none", "facts", "command"}
    assert all(not i.options for i in items if i.reference == NOT_ASSESSABLE)


def test_an_early_look_at_the_lesion_is_worth_more_and_glass_is_waste() -> None:
    items = with_lesion()
    assert items
    lesion = {i.id: on_lesion(i) for i in items}
    for place in (1, 2, 4):
        said = [Said(id=i.id, looks=(*[GLASS] * (place - 1), lesion[i.id])) for i in items]
        assert value(mrr(items, said), items) == pytest.approx(1 / place)
        assert value(recall(items, said, k=place), items) == 1
        assert value(background(items, said), items) == pytest.approx((place - 1) / place)
    assert value(mrr(items, [Said(id=i.id) for i in items]), items) == 0


def test_right_words_count_only_where_a_cited_look_shows_them() -> None:
    items = with_lesion()
    words = {i.id: f"{next(k for s, k, _ in i.truth['facts'] if s == 'diagnosis')}." for i in items}

    def said(looks: dict[str, tuple[float, ...]] | None) -> list[Said]:
        claims = {
            i.id: ClaimSaid(text=words[i.id], looks=(looks[i.id],) if looks else ())  # type: ignore[arg-type]
            for i in items
        }
        return [Said(id=i.id, claims=(claims[i.id],)) for i in items]

    shown = {i.id: on_lesion(i) for i in items}
    elsewhere = {i.id: GLASS for i in items}
    assert value(claims_shown(items, said(shown)), items) == 1
    assert value(grounded_f1(items, said(shown)), items) > 0.2
    for looks in (elsewhere, None):
        assert value(claims_shown(items, said(looks)), items) == 0
        assert value(grounded_f1(items, said(looks)), items) == 0


def test_a_slide_of_another_phantom_version_is_refused() -> None:
    item = with_lesion()[0]
    old = item.model_copy(update={"truth": {**item.truth, "phantom_version": 0}})
    claim = ClaimSaid(text="Necrosis is present.", looks=(GLASS,))
    with pytest.raises(UserError, match="phantom version 0"):
        claims_shown([old], [Said(id=old.id, claims=(claim,))])


def test_the_nearest_report_is_never_the_slides_own() -> None:
    records = [read_record(p) for p in sorted((fixture("phantom_vqa") / "slides").glob("*.json"))]
    twins = [records[0], {**records[0], "reference": "Of the twin."}, *records[1:]]
    assert nearest_reports(twins)[0] == "Of the twin."
    assert nearest_reports(records[:1]) == [""]


def test_a_run_takes_finished_slides_as_they_are_and_refuses_another_plan(tmp_path: Path) -> None:
    folder = fixture("phantom_vqa") / "slides"
    paths = sorted(folder.glob("*.json"))
    (tmp_path / "slides").mkdir()
    for path in paths:
        (tmp_path / "slides" / path.name).write_bytes(path.read_bytes())
    counted: list[tuple[int, int]] = []
    found = run(
        tmp_path, slides=len(paths), ask=Ask(), workers=1, done=lambda done, of: counted.append((done, of))
    )
    assert counted == [(len(paths), len(paths))]
    assert [r["truth"]["seed"] for r in found] == [json.loads(p.read_text())["truth"]["seed"] for p in paths]
    with pytest.raises(UserError, match="another run"):
        run(tmp_path, slides=len(paths), ask=Ask(questions=3), workers=1)
