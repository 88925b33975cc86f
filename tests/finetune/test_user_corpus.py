"""A user's own data: every format becomes the same record, and nothing bad passes in silence."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pathagent_finetune.corpus import simulate
from pathagent_finetune.corpus.examples import describe_example
from pathagent_finetune.splits import split
from pathagent_finetune.tuning_example import Message, TuningExample, from_phantom, write_chat_jsonl
from pathagent_finetune.user_corpus import Corpus, read_corpus, settle
from pathagent_tools.core.errors import UserError
from pathagent_tools.vlm import roles


def paint(path: Path, shade: int, px: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (px, px), (shade, 100, 150)).save(path)
    return path


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as out:
        table = csv.DictWriter(out, columns)
        table.writeheader()
        table.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ask(image: str, text: str = "What is it?", answer: str = "Stroma.", **more: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "images": [image], **more}


def test_a_table_row_is_asked_as_in_a_run(tmp_path: Path) -> None:
    paint(tmp_path / "a b.png", 1, px=32)
    row = {"image": "a b.png", "nuclear_grade": "high", "tissue": "stroma", "caption": "Loose\n stroma.",
           "question": "Is there tumour?", "answer": "no", "options": "yes; no", "patient": "P1",
           "split": "val", "mpp": "2"}  # fmt: skip
    described, answered = read_corpus(write_csv(tmp_path / "t.csv", [row]), mpp=1).examples
    assert (described.role, described.patient, described.split) == ("describe", "P1", "validation")
    request = roles.describe(np.zeros((1, 1, 3), np.uint8), field_um=64)
    assert described.prompt == (
        Message(role="system", content=request.system),
        Message(role="user", content="<image>" + request.user),
    )
    assert list(json.loads(described.completion).items()) == [
        ("tissue", "stroma"), ("nuclear_grade", "high"), ("sentence", "Loose stroma."),
    ]  # fmt: skip
    assert "Is there tumour?" in answered.prompt[1].content
    assert "yes; no" in answered.prompt[1].content
    said = json.loads(answered.completion)
    assert (said["class"], said["answer"], said["cites"]) == ("answered", "no", ["E1"])


def test_an_answer_that_there_is_none_is_an_abstention(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1)
    row = {"image": "a.png", "question": "Is HER2 positive?", "options": "yes;no"}
    row["answer"] = "cannot be told from this slide"
    (example,) = read_corpus(write_csv(tmp_path / "t.csv", [row]), mpp=1).examples
    assert json.loads(example.completion)["class"] == "cannot be told from this slide"
    assert json.loads(example.completion)["cites"] == []


def test_chat_lines_with_marks_parts_and_several_turns(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "b.png", 2)
    parts = [{"type": "text", "text": "First "}, {"type": "image", "image": "a.png"}]
    parts += [{"type": "text", "text": " then "}, {"type": "image", "image": "b.png"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": "Two."}]
    turns += [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "No more."}]
    path = write_jsonl(
        tmp_path / "chat.jsonl", [ask("a.png", split="train", role="answer"), {"messages": turns}]
    )
    plain, first, second = read_corpus(path, mpp=1).examples
    assert plain.prompt[0].content == "<image>What is it?"
    assert (plain.role, plain.split, plain.completion) == ("answer", "train", "Stroma.")
    assert first.prompt[0].parts() == [
        {"type": "text", "text": "First "}, {"type": "image"},
        {"type": "text", "text": " then "}, {"type": "image"},
    ]  # fmt: skip
    assert first.images == (tmp_path / "a.png", tmp_path / "b.png")
    assert (second.completion, len(second.prompt), len(second.images)) == ("No more.", 3, 2)


@pytest.mark.parametrize("kind", ["metadata.csv", "metadata.jsonl", "txt", "classes"])
def test_folders_of_images(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    for name in ("stroma", "mucin"):
        paint(folder / name / "a.png", len(name))
    rows = [{"file_name": f"{name}/a.png", "text": name} for name in ("mucin", "stroma")]
    if kind == "metadata.csv":
        write_csv(folder / kind, rows)
    elif kind == "metadata.jsonl":
        write_jsonl(folder / kind, rows)
    elif kind == "txt":
        for name in ("stroma", "mucin"):
            (folder / name / "a.txt").write_text(f"{name}\n")
    found = read_corpus(folder, mpp=1)
    assert not found.faults
    assert [json.loads(e.completion)["sentence"] for e in found.examples] == ["mucin", "stroma"]


BAD = {
    "missing image": {"image": "gone.png", "caption": "x"},
    "unreadable image": {"image": "torn.png", "caption": "x"},
    "empty answer": {"image": "a.png", "question": "What?", "answer": ""},
    "unknown slot value": {"image": "a.png", "tissue": "stromal"},
    "unknown split": {"image": "a.png", "caption": "x", "split": "holdout"},
    "bad mpp": {"image": "a.png", "caption": "x", "mpp": "40x"},
    "answer is no option": {"image": "a.png", "question": "What?", "answer": "x", "options": "a;b"},
    "too long for the schema": {"image": "a.png", "caption": "x" * 221},
    "images and <image> marks differ": {"image": "a.png", "question": "<image>?", "answer": "x"},
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_rows_are_one_error_or_a_counted_skip(tmp_path: Path, kind: str) -> None:
    paint(tmp_path / "a.png", 1)
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    path = write_csv(tmp_path / "t.csv", [{"image": "a.png", "caption": "Fine."}, BAD[kind], BAD[kind]])
    corpus = read_corpus(path, mpp=1)
    with pytest.raises(UserError, match=rf"2 of 3 examples .*\(2 {kind}\); first t\.csv:3: .*skip_bad"):
        settle(corpus, skip_bad=False)
    kept, counts = settle(corpus, skip_bad=True)
    assert (len(kept.examples), counts) == (1, {kind: 2})


BAD_LINES = {
    "broken line": "{",
    "broken messages": json.dumps({"messages": [{"role": "doctor", "content": "x"}]}),
    "empty answer": json.dumps(ask("a.png", answer=" ")),
    "images and <image> marks differ": json.dumps(ask("a.png", text="<image><image>?")),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_bad_chat_lines_are_faults_with_their_line(tmp_path: Path, kind: str) -> None:
    paint(tmp_path / "a.png", 1)
    path = tmp_path / "chat.jsonl"
    path.write_text(f"{json.dumps(ask('a.png'))}\n\n{BAD_LINES[kind]}\n")
    corpus = read_corpus(path, mpp=1)
    assert len(corpus.examples) == 1
    assert [(f.kind, f.place) for f in corpus.faults] == [(kind, "chat.jsonl:3")]


def test_the_error_names_the_first_three_places_and_counts_all(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [{"image": f"{i}.png", "caption": "x"} for i in range(9)])
    with pytest.raises(UserError) as caught:
        settle(read_corpus(path, mpp=1), skip_bad=False)
    said = str(caught.value)
    assert "9 of 9" in said and "t.csv:2" in said and "t.csv:4" in said and "t.csv:5" not in said
    with pytest.raises(UserError, match="No example is left"):
        settle(read_corpus(path, mpp=1), skip_bad=True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "picture,caption\n", "needs a column `image`"),
        ("t.csv", "image,captoin\n", "one of caption"),
        ("t.tsv", "image\tcaption\n", "cannot be read"),
        ("t.csv", "image,caption\na.png,br\udcfbn\n", "cannot be read as UTF-8"),
    ],
)
def test_a_file_that_no_reader_takes_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=said):
        read_corpus(tmp_path / name, mpp=1)
    with pytest.raises(UserError, match="There is no data at"):
        read_corpus(tmp_path / "gone.csv", mpp=1)


def table(tmp_path: Path, patients: int, tiles: int = 2) -> Corpus:
    rows = []
    for i in range(patients * tiles):
        paint(tmp_path / f"{i}.png", i)
        rows.append({"image": f"{i}.png", "caption": "x", "patient": f"P{i // tiles}"})
    return read_corpus(write_csv(tmp_path / "t.csv", rows), mpp=1)


def test_splits_keep_patients_together_and_follow_the_seed(tmp_path: Path) -> None:
    corpus = table(tmp_path, patients=40)
    drawn = split(corpus, share=0.25, seed=1)
    of = {e.patient: e.split for e in drawn.examples}
    assert all(of[e.patient] == e.split for e in drawn.examples)
    assert 3 <= sum(s == "validation" for s in of.values()) <= 18
    assert drawn == split(corpus, share=0.25, seed=1)
    assert drawn != split(corpus, share=0.25, seed=2)
    fewer = Corpus(corpus.examples[20:], corpus.pictures)
    kept = {e.id: e.split for e in drawn.examples}
    assert all(kept[e.id] == e.split for e in split(fewer, share=0.25, seed=1).examples)


def test_two_patients_are_one_for_each_split_and_one_alone_is_refused(tmp_path: Path) -> None:
    corpus = table(tmp_path, patients=2)
    assert {e.split for e in split(corpus, share=0.01, seed=0).examples} == {"train", "validation"}
    with pytest.raises(UserError, match="No example is left for train"):
        split(Corpus(corpus.examples[:2], corpus.pictures), share=0.1, seed=0)


def test_a_patient_on_both_sides_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "b.png", 2)
    rows = [{"image": "a.png", "caption": "x", "patient": "P7", "split": "train"},
            {"image": "b.png", "caption": "x", "patient": "P7", "split": "validation"}]  # fmt: skip
    with pytest.raises(UserError, match=r"patient P7 is in train \(t\.csv:2.* validation \(t\.csv:3"):
        split(read_corpus(write_csv(tmp_path / "t.csv", rows), mpp=1), share=0.1, seed=0)


def test_the_same_bytes_under_two_names_on_both_sides_are_named(tmp_path: Path) -> None:
    for name in ("a.png", "copy.png"):
        paint(tmp_path / name, 1)
    rows = [{"image": "a.png", "caption": "x", "split": "train"},
            {"image": "copy.png", "caption": "x", "split": "test"},
            {"image": paint(tmp_path / "c.png", 3).name, "caption": "x", "split": "validation"}]  # fmt: skip
    with pytest.raises(UserError, match=r"image copy\.png .* is in train .* and in test"):
        split(read_corpus(write_csv(tmp_path / "t.csv", rows), mpp=1), share=0.1, seed=0)


def test_chat_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    rng = Random(1)
    phantom = describe_example(simulate.random_findings(rng), 0, rng)
    records: list[TuningExample] = [
        from_phantom(phantom, "tile-0", image=paint(tmp_path / "tiles/0.png", 1), split="train"),
        *split(table(tmp_path, patients=3), share=0.3, seed=0).examples,
    ]
    write_chat_jsonl(records, tmp_path / "out/chat.jsonl")
    lines = (tmp_path / "out/chat.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["images"] == ["../tiles/0.png"]
    back = read_corpus(tmp_path / "out/chat.jsonl", mpp=1)
    assert not back.faults
    plain = [e.model_copy(update={"images": tuple(i.resolve() for i in e.images)}) for e in back.examples]
    assert plain == records
