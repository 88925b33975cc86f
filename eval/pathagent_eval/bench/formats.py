"""Public formats: the records of a data folder as items. Field names stand in the benchmark's YAML."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from pathagent_eval.bench.benchmark import Benchmark, Reading
from pathagent_eval.bench.item import Item
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_file

Record = dict[str, Any]
_CHOICE: Final = re.compile(r"\b([A-H])\)\s*(.*?)(?=\s+[A-H]\)|$)", re.DOTALL)
YES_NO: Final = ("yes", "no")


def items_of(bench: Benchmark, folder: Path) -> list[Item]:
    """The items of a benchmark in the user's copy of its data.

    UserError where the folder lacks the files, or a record lacks a field.
    """
    reading = bench.reading
    if reading is None:
        raise UserError(f"{bench.task} has no data of its own: type pathagent eval run {bench.task} -o DIR")
    items: list[Item] = []
    for path in files_of(bench, reading, folder):
        for record in READERS[reading.records](path):
            if all(str(record.get(key)) == value for key, value in reading.keep.items()):
                items.append(_item(bench, reading, record, path, len(items)))
    if not items:
        raise UserError(f"{folder} holds no record of {bench.task}. {bench.metadata.source}")
    return items


def files_of(bench: Benchmark, reading: Reading, folder: Path) -> list[Path]:
    """The files of the data folder that hold records."""
    found = [path for pattern in reading.files for path in sorted(folder.glob(pattern))]
    if not found:
        wanted = ", ".join(reading.files)
        raise UserError(f"{folder} has no {wanted}. Get the data of {bench.task}: {bench.metadata.source}")
    return found


def _item(bench: Benchmark, reading: Reading, record: Record, path: Path, number: int) -> Item:
    try:
        target, text = str(record[reading.doc_to_target]), str(record.get(reading.doc_to_text, ""))
        own = str(record[reading.doc_to_id]) if reading.doc_to_id else f"{path.stem}-{number + 1}"
        owner = str(record[reading.doc_to_cluster]) if reading.doc_to_cluster else own
    except KeyError as error:
        raise UserError(
            f"{path}: a record of {bench.task} has no field {error}. Is it this data set?"
        ) from None
    part = re.search(reading.cluster_pattern, owner) if reading.cluster_pattern else None
    options = record.get(reading.doc_to_choice) or ()
    topic = str(record.get(reading.doc_to_topic, ""))
    return Item(
        id=own,
        cluster=part[0] if part else owner,
        reference=target,
        question=text,
        options=tuple(map(str, options)) or bench.labels,
        topic=topic,
        groups={"topic": topic} if topic else {},
        truth=record.get("truth", {}),
    )


def _json(path: Path) -> Iterator[Record]:
    """A list of objects."""
    yield from json.loads(path.read_text(encoding="utf-8"))


def _wsi_vqa(path: Path) -> Iterator[Record]:
    """WSI-VQA: a list of questions, some with choices."""
    for row in _json(path):
        yield {**row, "kind": "with choices" if row.get("Choice") else "open"}


def _csv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        yield from csv.DictReader(handle)


def _tsv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        yield from csv.DictReader(handle, delimiter="\t")


def _tissue_rois(path: Path) -> Iterator[Record]:
    """REG 2026: whether a region shows tissue, as yes or no."""
    for row in _tsv(path):
        answer = "yes" if row["label"] == "tissue" else "no"
        yield {**row, "answer": answer, "options": YES_NO}


def _conversations(path: Path) -> Iterator[Record]:
    """LLaVA form: the turn of `human` asks, that of `gpt` is right; options stand in the question."""
    for n, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        turns = {turn["from"]: turn["value"] for turn in row["conversations"]}
        question, answer = turns["human"].replace("<image>\n", ""), turns["gpt"].strip()
        choices = dict(_CHOICE.findall(question))
        options = [text.strip() for text in choices.values()]
        if options:
            answer = choices.get(answer[:1], answer).strip()
        elif answer.rstrip(".").lower() in YES_NO:
            answer, options = answer.rstrip(".").lower(), list(YES_NO)
        yield {
            "id": f"{path.stem}-{row['id']}-{n + 1}",
            "case": row["id"],
            "question": question,
            "answer": answer,
            "options": options,
            "task": path.stem,
        }


def _pathvqa(path: Path) -> Iterator[Record]:
    """PathVQA: parallel lists of questions and answers for each image."""
    for image in json.loads(path.read_text(encoding="utf-8")):
        answers = [next(iter(label)) for label in image["labelf"]["pvqa"]]
        for n, (question, answer) in enumerate(zip(image["sentf"]["pvqa"], answers, strict=True)):
            closed = answer in YES_NO
            yield {
                "id": f"{image['img_id']}-{n + 1}",
                "image": image["img_id"],
                "question": question,
                "answer": answer,
                "options": YES_NO if closed else (),
                "kind": "yes or no" if closed else "open",
            }


def _multipathqa(path: Path) -> Iterator[Record]:
    """MultiPathQA: the answer is the number of an option from 1, in GTEx its text, in PANDA the grade."""
    for n, row in enumerate(_csv(path)):
        options = [str(o) for o in ast.literal_eval(row["options"])] if row["options"] else []
        numbered = options and row["benchmark_name"] != "gtex"
        answer = options[int(row["answer"]) - 1] if numbered else row["answer"]
        yield {
            **row,
            "id": f"{row['benchmark_name']}-{row['benchmark_id']}-{n + 1}",
            "slide": row["image_path"],
            "options": options,
            "right": answer,
        }


def _tiles(path: Path) -> Iterator[Record]:
    """A picture whose folder is its label."""
    image = f"{path.parent.name}/{path.name}"
    yield {"id": path.name, "label": path.parent.name, "source": path.stem, "image": image}


def _masks(path: Path) -> Iterator[Record]:
    """A picture in `img/` with a mask of the same stem in `mask/`."""
    mask = next(iter(sorted((path.parent.parent / "mask").glob(f"{path.stem}.*"))), None)
    if mask is not None:
        yield {"id": path.stem, "image": f"img/{path.name}", "mask": str(mask), "sha256": sha256_file(mask)}


def _inside(low: int, high: int) -> Callable[[Path], Iterator[Record]]:
    """Masks of which the grey values from `low` to `high` are inside."""

    def read(path: Path) -> Iterator[Record]:
        for record in _masks(path):
            yield {**record, "truth": {"inside": [low, high], "mask_sha256": record["sha256"]}}

    return read


def _dragon(path: Path) -> Iterator[Record]:
    """A DRAGON sample: the label in the head, the report between the fences."""
    text = path.read_text(encoding="utf-8")
    label, report = (
        re.search(r"^Label:\s*(.+)$", text, re.MULTILINE),
        re.search(r"```\n(.*?)```", text, re.DOTALL),
    )
    if label is None or report is None:
        raise UserError(f"{path} is no DRAGON sample: it has no label or no report between fences.")
    yield {"id": path.stem, "report": report[1], "label": label[1].strip(), "task": path.stem}


READERS: Final[dict[str, Callable[[Path], Iterator[Record]]]] = {
    "json": _json,
    "csv": _csv,
    "wsi-vqa": _wsi_vqa,
    "tissue rois": _tissue_rois,
    "conversations": _conversations,
    "pathvqa": _pathvqa,
    "multipathqa": _multipathqa,
    "label folders": _tiles,
    "masks 0-2": _inside(0, 2),
    "masks above 127": _inside(128, 255),
    "dragon": _dragon,
}
"""Name in a YAML → the records of one file."""
