"""An adapter of the embedded base from its recipe: corpus, tuning, scores beside controls, and going on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from test_vlm_train import write_store

from pathagent import cli
from pathagent_finetune import adapters, role_eval, verify_eval
from pathagent_finetune.adapters import load_adapter_recipe
from pathagent_finetune.corpus import belief
from pathagent_finetune.corpus.examples import write_example
from pathagent_finetune.verify_eval import verify_table
from pathagent_finetune.write_eval import write_table
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Completion, ModelRequest
from pathagent_tools.vlm.profile import load_profile

READING = ("adapter-answer", "adapter-diagnose", "adapter-write")
"""Recipes whose examples show no tiles."""
SHIPPED = (*READING, "adapter-describe", "adapter-verify")


class Oracle:
    """Answers what the corpus would: scoring it must give the ceiling."""

    def __init__(self, wanted: dict[str, dict[str, object]]) -> None:
        self.wanted = wanted

    def generate(self, requests: list[ModelRequest]) -> list[Completion]:
        found = [self.wanted.get(r.user, {}) for r in requests]
        return [
            Completion(text="", data=data, prompt_tokens=0, completion_tokens=0, seconds=0) for data in found
        ]


def tiny(tmp_path: Path, name: str) -> Path:
    plan = load_adapter_recipe(name).model_dump(mode="json")
    plan |= {"train": 6, "validation": 2, "scored": 6}
    plan["tuning"] |= {"steps": 2, "batch": 2, "evaluate_steps": 2}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


@pytest.mark.parametrize("name", READING)
def test_an_adapter_is_trained_scored_beside_its_base_and_found_finished(tmp_path: Path, name: str) -> None:
    recipe, out = tiny(tmp_path, name), tmp_path / "adapter"
    command = ["finetune", "adapter", "--recipe", str(recipe), "-o", str(out)]
    assert cli.run(command) == 0
    card = ModelCard.load(out)
    assert card.kind == "vlm-adapter"
    assert {"before", "after", "validation_loss"} <= set(card.scores)
    assert {"model", "empty_ledger", "shuffled_ledger"} <= set(card.scores["after"])
    rows = [json.loads(row) for row in (out / "corpus" / "examples.jsonl").read_text().splitlines()]
    assert [r["split"] for r in rows].count("train") == 6
    assert {r["role"] for r in rows} <= set(load_adapter_recipe(name).roles)
    written = (out / "card.json").stat().st_mtime_ns
    assert cli.run(command) == 0
    assert (out / "card.json").stat().st_mtime_ns == written


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tiles where a recipe would render thousands."""
    stores = {n: write_store(tmp_path / n, 6, i) for i, n in enumerate(("train", "validation", "test"))}
    monkeypatch.setattr(adapters, "render_tiles", lambda sets, folder, **_: stores)


@pytest.mark.usefixtures("tiles")
def test_the_describing_adapter_learns_from_pictures_of_its_tiles_and_is_told_what_was_counted(
    tmp_path: Path,
) -> None:
    out = tmp_path / "adapter"
    adapters.train_adapter(tiny(tmp_path, "adapter-describe"), out)
    card = ModelCard.load(out)
    assert {"model", "blank_image", "majority"} <= set(card.scores["before"])
    assert "closer" in card.scores["after"], "the finer scale has scores of its own"
    for pictures in ("train", "train-closer"):
        assert len(list((out / "corpus" / pictures).glob("*.png"))) == 3
    rows = [json.loads(row) for row in (out / "corpus" / "examples.jsonl").read_text().splitlines()]
    assert all("mitotic figures " in str(row["messages"]) for row in rows)
    widths = {row["images"][0].split("/")[0]: str(row["messages"]).split("Field width ")[1] for row in rows}
    assert widths["train"].startswith("192 um") and widths["train-closer"].startswith("96 um")


def test_a_recipe_whose_closer_tiles_would_not_be_measured_is_refused(tmp_path: Path) -> None:
    plan = load_adapter_recipe("adapter-describe").model_dump(mode="json") | {"measured": False}
    (tmp_path / "untold.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(UserError, match="closer and mistold need tiles and measured: true"):
        load_adapter_recipe(tmp_path / "untold.yaml")


def test_one_tile_in_five_is_told_with_what_another_measures_and_none_at_the_finer_scale() -> None:
    plan = load_adapter_recipe("adapter-describe")
    told = [[adapters._told_of(plan, scale, 7, 5000, seed) for seed in range(2000)] for scale in (0, 1)]
    assert 0.17 < sum(tile != 7 for tile in told[0]) / 2000 < 0.23
    assert set(told[1]) == {7}
    assert told[0] == [adapters._told_of(plan, 0, 7, 5000, seed) for seed in range(2000)]


@pytest.mark.usefixtures("tiles")
def test_the_checking_adapter_sees_the_look_that_it_judges(tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    adapters.train_adapter(tiny(tmp_path, "adapter-verify"), out)
    scores = ModelCard.load(out).scores
    assert set(scores["after"]) == {"n", "metric", "claims", "answers"}
    rows = [json.loads(row) for row in (out / "corpus" / "examples.jsonl").read_text().splitlines()]
    assert all(len(row["images"]) == 1 for row in rows)


def test_a_check_that_is_right_scores_one_and_one_that_always_agrees_is_at_chance(tmp_path: Path) -> None:
    store, n = write_store(tmp_path / "test", 6, 2), 40
    drawn = [verify_eval._drawn(store, i, answers=float(i >= n)) for i in range(2 * n)]
    right = verify_table(Oracle({e.request.user: e.target for e in drawn}), store, n)  # type: ignore[arg-type]
    agreeing = {e.request.user: {"said": "a", "seen": "a", "verdict": "supported"} for e in drawn}
    always = verify_table(Oracle(agreeing), store, n)  # type: ignore[arg-type]
    for part in ("claims", "answers"):
        assert right[part]["balanced_accuracy"] == right[part]["supported_precision"] == 1.0
        assert always[part]["balanced_accuracy"] == 0.5


def test_an_oracle_reaches_the_ceiling_and_silence_scores_nothing() -> None:
    n = 60
    drawn = role_eval.cases(n)
    wanted = {}
    for i, case in enumerate(drawn):
        question = role_eval._question(case, i)
        example = role_eval.answer_example(case, question, role_eval.Random(0))
        wanted[example.request.user] = example.target
        example = role_eval.diagnose_example(case, role_eval.Random(0))
        wanted[example.request.user] = example.target
    answers = role_eval.answer_table(Oracle(wanted), n)  # type: ignore[arg-type]
    assert answers["model"]["answerable"].startswith("1.000")
    assert answers["model"]["cannot_tell_recall"] == answers["model"]["cannot_tell_precision"] == 1
    weighed = role_eval.diagnose_table(Oracle(wanted), n)  # type: ignore[arg-type]
    assert weighed["model"]["top1"] == weighed["ceiling"]["top1"]
    assert weighed["model"]["agrees_with_the_evidence"].startswith("1.000")
    guessing = {k: v | {"answer": "7"} if v.get("about") == "pieces" else v for k, v in wanted.items()}
    counted = role_eval.answer_table(Oracle(guessing), n)["model"]  # type: ignore[arg-type]
    assert not counted["answerable"].startswith("1.000")
    assert counted["answerable_in_a_run"].startswith("1.000")
    silent = Oracle({})
    assert role_eval.answer_table(silent, n)["model"]["answerable"].startswith("0.000")  # type: ignore[arg-type]
    assert role_eval.diagnose_table(silent, n)["model"]["top1"].startswith("0.000")  # type: ignore[arg-type]


def test_writing_is_scored_by_its_facts_its_citations_and_what_it_names_elsewhere() -> None:
    n = 24
    examples = [write_example(case, role_eval.Random(0)) for case in role_eval.cases(n)]
    rows = {e.request.user: dict(e.target) for e in examples}
    best = write_table(Oracle(rows), n)["model"]  # type: ignore[arg-type]
    assert all(value.startswith("1.000") for value in best.values())
    tumour = {"text": "Elsewhere there is stroma and invasive tumour.", "cites": ["E1"]}
    odd = {user: {"sentences": [*row["sentences"][:-1], tumour]} for user, row in rows.items()}
    found = write_table(Oracle(odd), n)["model"]  # type: ignore[arg-type]
    assert found["other_tissue_named_rightly"].startswith("0.000")
    moved = {user: {"sentences": [s | {"cites": []} for s in row["sentences"]]} for user, row in rows.items()}
    assert write_table(Oracle(moved), n)["model"]["cited_looks_show_the_sentence"].startswith("0.000")  # type: ignore[arg-type]
    assert write_table(Oracle({}), n)["model"]["facts_right"].startswith("0.000")  # type: ignore[arg-type]


def test_the_cases_of_a_score_are_none_of_the_corpus() -> None:
    for name in SHIPPED:
        plan = load_adapter_recipe(name)
        last = plan.first_seed + 1_000_000_000 + plan.validation
        assert plan.first_seed + plan.train < last < role_eval.UNSEEN_CASES
    assert belief.differential(role_eval.cases(1)[0].evidence)


def test_a_recipe_with_an_unknown_role_is_refused(tmp_path: Path) -> None:
    path = tiny(tmp_path, "adapter-answer")
    path.write_text(path.read_text().replace("- answer", "- anwser"))
    with pytest.raises(UserError, match="cannot be used"):
        load_adapter_recipe(path)


def test_the_embedded_profile_uses_the_adapters_that_ship() -> None:
    listed = load_profile("embedded").vlm.adapters
    for name in SHIPPED:
        for role in load_adapter_recipe(name).roles:
            card = ModelCard.load(listed[role])
            assert card.trained_on["recipe"]["id"] == load_adapter_recipe(name).tuning.id
