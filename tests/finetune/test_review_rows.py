"""Reviewed reports as training data: asked as in the run, answered as the human left it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from review_cases import LINES, SENTENCES, write_case
from tiny_bases import write_recipe

from pathagent import cli
from pathagent_finetune.groups import together
from pathagent_finetune.splits import split
from pathagent_finetune.tuning_example import TuningExample
from pathagent_finetune.user_corpus import read_corpus, settle
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.vlm import roles


def read(path: Path) -> dict[str, list[TuningExample]]:
    """The examples of reviewed cases by role; nothing was left out."""
    corpus = read_corpus(path, mpp=1)
    assert corpus.faults == ()
    found: dict[str, list[TuningExample]] = {"write": [], "verify": []}
    for example in corpus.examples:
        found[example.role].append(example)
    return found


def sentences(example: TuningExample) -> list[str]:
    return [s["text"] for s in json.loads(example.completion)["sentences"]]


def test_the_report_is_learned_as_the_human_left_it(tmp_path: Path) -> None:
    path = write_case(tmp_path / "case", {"C2": "Nests without gaps infiltrate.", "C3": ""})
    (written,) = read(path)["write"]
    assert sentences(written) == [SENTENCES[0], "Nests without gaps infiltrate."]
    assert [s["cites"] for s in json.loads(written.completion)["sentences"]] == [["E1"], ["E1"]]
    request = roles.write(
        "S1: tissue 3.0 mm2 in 1 piece.", "solid carcinoma (90 %)", "\n".join(LINES.values()), ["E1", "E2"]
    )
    assert [m.content for m in written.prompt] == [request.system, request.user]
    assert written.images == ()


def test_checks_are_learned_as_accepted_struck_or_in_the_humans_words(tmp_path: Path) -> None:
    path = write_case(tmp_path / "case", {"C2": "Nests without gaps infiltrate.", "C3": ""})
    accepted, edited, struck = read(path)["verify"]
    said = [json.loads(e.completion) for e in (accepted, edited, struck)]
    assert [s["verdict"] for s in said] == ["supported", "supported", "unsupported"]
    assert said[1]["said"] == said[1]["seen"] == "Nests without gaps infiltrate"
    assert said[2]["seen"] not in said[2]["said"]
    for example, claim in (
        (accepted, "Solid carcinoma."),
        (edited, "Nests without gaps infiltrate."),
        (struck, SENTENCES[2]),
    ):
        request = roles.verify(claim, LINES["E1"])
        assert [m.content for m in example.prompt] == [request.system, f"<image>{request.user}"]
        (image,) = example.images
        with Image.open(image) as shown:
            assert np.asarray(shown).mean() == 90


def test_an_edited_diagnosis_takes_the_place_of_the_sentence_that_named_it(tmp_path: Path) -> None:
    (written,) = read(write_case(tmp_path / "case", {"C1": "Adenocarcinoma, grade 2."}))["write"]
    assert sentences(written) == ["Adenocarcinoma, grade 2.", *SENTENCES[1:]]


def test_what_the_run_marked_as_unsupported_is_not_learned_as_written(tmp_path: Path) -> None:
    path = write_case(tmp_path / "case", {}, verdicts={"C2": "unsupported", "C3": "not assessable"})
    found = read(path)
    assert sentences(found["write"][0]) == [SENTENCES[0]]
    assert [json.loads(e.completion)["verdict"] for e in found["verify"]] == ["supported", "unsupported"]


def test_cases_that_share_a_slide_are_never_parted(tmp_path: Path) -> None:
    for i in range(12):
        write_case(tmp_path / f"case{i}", {}, slide=f"{i // 2:064d}", when=f"{i:032d}", shade=100 + i)
    drawn = split(read_corpus(tmp_path, mpp=1), share=0.3, seed=1)
    sides: dict[str | None, set[str | None]] = {}
    for example in drawn.examples:
        sides.setdefault(example.patient, set()).add(example.split)
    assert len(sides) == 6
    assert all(len(found) == 1 for found in sides.values())
    assert set().union(*sides.values()) == {"train", "validation"}


def test_a_patient_named_in_the_lines_joins_its_cases_and_leaks_are_refused(tmp_path: Path) -> None:
    for i in range(2):
        path = write_case(tmp_path / f"c{i}", {}, slide=f"{i:064d}", when=f"{i:032d}", shade=100 + i)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        named = [json.dumps(row | {"patient": "P7", "split": ["train", "val"][i]}) for row in rows]
        path.write_text("\n".join(named) + "\n")
    with pytest.raises(UserError, match="patient patient P7 is in train"):
        split(read_corpus(tmp_path, mpp=1), share=0.3, seed=1)


def broken(kind: str, path: Path) -> None:
    lines = path.read_text().splitlines()
    row = json.loads(lines[1])
    match kind:
        case "broken line":
            lines[1] = "{"
        case "broken review pair":
            lines[1] = json.dumps(row | {"verdict": "edited"})
        case "missing image":
            next(path.parent.glob("*.png")).unlink()
        case "other image":
            picture = next(path.parent.glob("*.png"))
            Image.new("RGB", (32, 32)).save(picture)
        case "no prompt":
            row["checks"][0]["user"] = ""
            lines[1] = json.dumps(row)
        case "broken completion":
            row["checks"][0]["text"] = "supported"
            lines[1] = json.dumps(row)
        case "unknown split":
            lines[1] = json.dumps(row | {"split": "holdout"})
        case "review not whole":
            del lines[1]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("broken line", {"broken line": 1, "review not whole": 1}),
        ("broken review pair", {"broken review pair": 1, "review not whole": 1}),
        ("unknown split", {"unknown split": 1, "review not whole": 1}),
        ("review not whole", {"review not whole": 1}),
        ("missing image", {"missing image": 3}),
        ("other image", {"other image": 3}),
        ("no prompt", {"no prompt": 1}),
        ("broken completion", {"broken completion": 1}),
    ],
)
def test_bad_lines_are_counted_faults(tmp_path: Path, kind: str, faults: dict[str, int]) -> None:
    write_case(tmp_path / "good", {}, slide="6" * 64, when="c" * 32, shade=120)
    broken(kind, write_case(tmp_path / "bad", {}))
    kept, counts = settle(read_corpus(tmp_path, mpp=1), skip_bad=True)
    assert counts == faults
    assert [e.role for e in kept.examples if e.id.startswith("good")] == ["write", *["verify"] * 3]


def test_a_sentence_that_no_run_can_write_is_a_fault(tmp_path: Path) -> None:
    path = write_case(tmp_path / "case", {"C2": "Solid nests. " * 30})
    (fault,) = read_corpus(path, mpp=1).faults
    assert fault.kind == "too long for the schema"


def test_a_folder_of_cases_that_nobody_reviewed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "case/evidence").mkdir(parents=True)
    (tmp_path / "case/report.json").write_text("{}")
    Image.new("RGB", (8, 8)).save(tmp_path / "case/evidence/E1.png")
    with pytest.raises(UserError, match=r"none of them was reviewed: .* pathagent review CASE"):
        read_corpus(tmp_path, mpp=1)


def test_an_adapter_is_tuned_on_a_folder_of_reviewed_cases(tmp_path: Path) -> None:
    for i in range(4):
        edits = {"C2": "Nests without gaps infiltrate."}
        write_case(tmp_path / f"cases/{i}", edits, slide=f"{i:064d}", when=f"{i:032d}", shade=100 + i)
    recipe = write_recipe(tmp_path / "r.yaml", "embedded", steps=4, evaluate_steps=2, role="write", lr=5e-3)
    command = ["finetune", "vlm", "--recipe", str(recipe), "--data", str(tmp_path / "cases")]
    assert cli.run([*command, "-o", str(tmp_path / "out")]) == 0
    card = ModelCard.load(tmp_path / "out")
    assert card.trained_on["roles"] == {"write": 4, "verify": 12}
    losses = card.scores["validation_loss"]
    assert losses["after"] < losses["before"]


def test_together_links_through_others() -> None:
    keys = [["a", "s1"], ["b", "s1"], ["c"], ["d", "s2", "s3"], ["b", "s3"]]
    assert together(keys) == ["a", "a", "c", "a", "a"]
    assert together([]) == []
