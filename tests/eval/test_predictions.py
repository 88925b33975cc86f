"""Scores of report texts: right is right, and no answer that needs no slide scores above its floor."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pathagent.cli import run
from pathagent_eval.floors import commonest_facts, shuffled_texts
from pathagent_eval.predictions import score_predictions
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring.report import extract
from pathagent_tools.core.scoring.resampling import Resampling

Texts = list[str | None]
FAMILIES = [
    "Adenocarcinoma, grade 2",
    "Tubular adenoma with low-grade dysplasia",
    "Hyperplastic polyp",
    "No tumour seen",
]
DETAILS = ["No necrosis.", "Necrosis is present.", "Mitoses are many.", "Mitoses are few. No necrosis."]


def references(n: int = 60) -> list[str]:
    """Biopsy reports; the first family is the commonest."""
    rng = random.Random(3)
    families = rng.choices(FAMILIES, weights=[5, 3, 2, 2], k=n)
    return [f"Colon, colonoscopic biopsy; {family}. {rng.choice(DETAILS)}" for family in families]


WANTED = references()


def scores(
    said: Texts, folder: Path, *, patients: list[str] | None = None, metrics: list[str] | None = None
) -> Any:
    names = [f"case {i:03}" for i in range(len(said))]
    owners = patients or names
    lines = [{"case": c, "text": t} for c, t in zip(names, said, strict=True)]
    (folder / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    wanted = [
        {"case": c, "patient": p, "reference": r} for c, p, r in zip(names, owners, WANTED, strict=True)
    ]
    (folder / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in wanted))
    return score_predictions(
        folder / "p.jsonl", folder / "r.jsonl", folder / "out", metrics=metrics or ["facts"]
    )


def copied_from_another_case() -> Texts:
    rng = random.Random(11)
    return [rng.choice([r for j, r in enumerate(WANTED) if j != i]) for i in range(len(WANTED))]


def at_random() -> Texts:
    rng = random.Random(12)
    return [f"{rng.choice(FAMILIES)}. {rng.choice(DETAILS)}" for _ in WANTED]


def commonest() -> Texts:
    return [Counter(WANTED).most_common(1)[0][0]] * len(WANTED)


def facts_of_all_families() -> Texts:
    return [" ".join(f"{text}." for text in (*FAMILIES, *DETAILS))] * len(WANTED)


DISHONEST: dict[str, Callable[[], Texts]] = {
    "nothing": lambda: [""] * len(WANTED),
    "no prediction": lambda: [None] * len(WANTED),
    "the commonest report": commonest,
    "the header that all share": lambda: ["Colon, colonoscopic biopsy; no tumour."] * len(WANTED),
    "a report at random": at_random,
    "another case's report": copied_from_another_case,
    "everything at once": facts_of_all_families,
    "an error text": lambda: ["Error: the model server did not answer (HTTP 503)."] * len(WANTED),
    "an apology": lambda: ["I cannot determine the diagnosis of this slide."] * len(WANTED),
}


@pytest.mark.parametrize("agent", DISHONEST)
def test_no_answer_that_needs_no_slide_scores_above_its_floor(agent: str, tmp_path: Path) -> None:
    primary = scores(DISHONEST[agent](), tmp_path)["primary"]
    floors = {name: floor["value"] for name, floor in primary["floors"].items()}
    assert primary["verdict"].startswith("not above")
    assert primary["score"]["value"] <= max(floors.values()) + 1e-9
    if agent in ("nothing", "no prediction", "an error text", "an apology"):
        assert primary["score"]["value"] == 0
    assert floors["silence"] == 0
    assert floors["commonest facts"] >= floors["commonest text"] > 0


def test_the_truth_scores_one_and_stands_above_its_floors(tmp_path: Path) -> None:
    result = scores(list(WANTED), tmp_path, metrics=["facts", "bleu", "rouge_l", "cider"])
    assert result["primary"]["score"]["value"] == 1
    assert result["primary"]["verdict"].startswith("above")
    assert {row["count"] for row in result["errors"].values()} == {0}
    assert result["ngrams"]["rouge_l"]["corpus"] == pytest.approx(1)
    floors = result["ngrams"]["bleu_4"]["floors_corpus"]
    assert 0.2 < floors["another case's"] < 1
    shown = (tmp_path / "out/scores.md").read_text()
    assert "| **system** | 1.000 [1.000, 1.000] | 60 |" in shown
    assert "pycocoevalcap" in shown


def test_failures_and_abstentions_stay_in_the_denominator(tmp_path: Path) -> None:
    half: Texts = [text if i % 2 else None for i, text in enumerate(WANTED)]
    result = scores(half, tmp_path, metrics=["facts", "rouge_l"])
    assert (result["n"], result["n_failed"], result["n_abstained"]) == (60, 30, 0)
    assert result["ngrams"]["rouge_l"]["corpus"] == pytest.approx(0.5)
    assert result["primary"]["score"]["value"] == pytest.approx(2 / 3, abs=0.02)
    empty: Texts = [text if i % 2 else "" for i, text in enumerate(WANTED)]
    assert scores(empty, tmp_path)["n_abstained"] == 30


def test_a_case_that_is_not_predicted_has_failed(tmp_path: Path) -> None:
    result = scores(list(WANTED), tmp_path)
    lines = (tmp_path / "p.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "p.jsonl").write_text("".join(lines[10:]))
    less = score_predictions(tmp_path / "p.jsonl", tmp_path / "r.jsonl", tmp_path / "out")
    assert (less["n"], less["n_failed"]) == (60, 10)
    assert less["primary"]["score"]["value"] < result["primary"]["score"]["value"]


def test_wrong_diagnoses_are_counted_in_words(tmp_path: Path) -> None:
    benign: Texts = ["Colon, colonoscopic biopsy; Hyperplastic polyp. No necrosis." for _ in WANTED]
    result = scores(benign, tmp_path)
    malignant = sum("Adenocarcinoma" in r for r in WANTED)
    assert result["errors"]["critical_errors"]["count"] == malignant
    rows = [json.loads(line) for line in (tmp_path / "out/cases.jsonl").read_text().splitlines()]
    assert sum(r["critical_errors"] == ["diagnosis: benign, not malignant"] for r in rows) == malignant


def test_few_patients_are_too_few_whatever_the_number_of_cases(tmp_path: Path) -> None:
    result = scores(list(WANTED), tmp_path, patients=[f"P{i % 6}" for i in range(60)])
    assert result["n_patients"] == 6
    assert result["primary"]["verdict"] == "too few patients to tell (6 of 30)"


def test_intervals_are_wider_where_cases_are_of_few_patients() -> None:
    values = [float(i // 10 % 2) for i in range(100)]
    alone = Resampling(range(100)).mean(values)
    together = Resampling([i // 10 for i in range(100)]).mean(values)
    assert alone.value == together.value == 0.5
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_constant_answer_is_the_best_that_there_is() -> None:
    wanted = [extract(text) for text in WANTED]
    best = commonest_facts(wanted)
    assert {"colon", "colonoscopic biopsy"} <= {fact.key for fact in best}

    def f1(facts: frozenset[Any]) -> float:
        return 2 * sum(len(facts & w) for w in wanted) / (len(facts) * len(wanted) + sum(map(len, wanted)))

    everything = frozenset(fact for facts in wanted for fact in facts)
    assert all(f1(best) >= f1(best - {fact}) for fact in best)
    assert all(f1(best) >= f1(best | {fact}) for fact in everything)


def test_shuffling_never_hands_a_case_its_own_patients_report() -> None:
    texts, patients = [f"text {i}" for i in range(30)], [f"P{i // 3}" for i in range(30)]
    shuffled = shuffled_texts(texts, patients)
    assert all(int(t.split()[1]) // 3 != i // 3 for i, t in enumerate(shuffled))


def test_tables_that_do_not_match_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores(list(WANTED), tmp_path)
    (tmp_path / "other.jsonl").write_text('{"case": "stranger", "text": "x"}\n')
    command = ["eval", "score", str(tmp_path / "other.jsonl"), "--references", str(tmp_path / "r.jsonl")]
    assert run([*command, "-o", str(tmp_path / "o"), "--metrics", "facts"]) == 2
    assert "stranger first" in capsys.readouterr().err
    assert run([*command, "-o", str(tmp_path / "o"), "--metrics", "blue"]) == 2
    assert "Unknown metric 'blue'" in capsys.readouterr().err
    (tmp_path / "plain.csv").write_text("case,reference\nstranger,nothing medical\n")
    with pytest.raises(UserError, match="states a fact"):
        score_predictions(tmp_path / "other.jsonl", tmp_path / "plain.csv", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_the_command_scores_what_any_system_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores(list(WANTED), tmp_path)
    command = ["eval", "score", str(tmp_path / "p.jsonl"), "--references", str(tmp_path / "r.jsonl")]
    assert run([*command, "-o", str(tmp_path / "o"), "--metrics", "facts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["primary"]["score"]["value"] == 1
