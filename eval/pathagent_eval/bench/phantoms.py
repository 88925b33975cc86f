"""The phantom benchmarks from one set of slides: run, resumed, taken apart into items and answers."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import numpy as np

from pathagent_eval.bench.item import ClaimSaid, Item, Said
from pathagent_eval.bench.phantom_run import FIRST_SEED, Ask, run_slide
from pathagent_eval.bench.results import SHUFFLED
from pathagent_eval.perturbation import HERE
from pathagent_eval.reports import Planned, plan
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

TASKS: Final = (
    "phantom_report", "phantom_vqa", "phantom_navigation", "phantom_grounding", "phantom_safety",
    "phantom_perturbation",
)  # fmt: skip
NEAREST: Final = "nearest report"
COUNTS: Final = tuple(str(n) for n in range(1, 10))
"""What may be read as the answer to a count; the question itself shows no options."""
Record = dict[str, Any]
Set = tuple[list[Item], dict[str, list[Said]]]
"""Items of a benchmark, and what each system (`system` first) said of them."""


def run(
    out: Path,
    *,
    slides: int,
    ask: Ask,
    workers: int,
    first_seed: int = FIRST_SEED,
    done: Callable[[int, int], None] = lambda *_: None,
) -> list[Record]:
    """Records of small phantoms, every second from a held-out scanner; finished slides are kept in `out`.

    UserError where `out` holds slides of another plan.
    """
    planned = plan(slides, 0, first_seed=first_seed)
    _check_settings(out / "settings.json", {"ask": ask.model_dump(), "first_seed": first_seed})
    waiting = [p for p in planned if not _place(out, p).is_file()]
    done(len(planned) - len(waiting), len(planned))
    for count, (p, record) in enumerate(_finished(waiting, ask, out, workers), 1):
        write_text_atomic(_place(out, p), json.dumps(record) + "\n")
        done(len(planned) - len(waiting) + count, len(planned))
    return [read_record(_place(out, p)) for p in planned]


def read_record(path: Path) -> Record:
    """The record of one slide."""
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record


def _finished(
    waiting: Sequence[Planned], ask: Ask, out: Path, workers: int
) -> Iterator[tuple[Planned, Record]]:
    if workers == 1 or len(waiting) < 2:
        yield from ((p, run_slide(p, ask, out / "work" / str(p.seed))) for p in waiting)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(run_slide, p, ask, out / "work" / str(p.seed)): p for p in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _place(out: Path, planned: Planned) -> Path:
    return out / "slides" / f"{planned.seed}.json"


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    if not path.is_file():
        write_text_atomic(path, json.dumps(settings) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != settings:
        raise UserError(f"{path.parent} holds slides of another run. Give an empty folder with -o.")


def taken_apart(records: Sequence[Record]) -> dict[str, Set]:
    """Task → its items and predictions."""
    return {
        "phantom_report": _reports(records),
        "phantom_vqa": _questions(records, "questions"),
        "phantom_navigation": _looks(records),
        "phantom_grounding": _claims(records),
        "phantom_safety": _questions(records, "safety"),
        "phantom_perturbation": _perturbed(records),
    }


def _item(record: Record, **more: Any) -> Item:
    truth = record["truth"]
    groups = {
        "scanner": f"{truth['scanner']}{' (held out)' if truth['held_out_scanner'] else ''}",
        "stain": truth["stain"],
        "family": truth["diagnosis"],
    }
    name = f"phantom-{truth['seed']}"
    return Item(**{"id": name, "cluster": name, "groups": groups, **more})


def _draft(record: Record, item: Item, **kept: Any) -> Said:
    return Said(id=item.id, status=record["draft"]["status"], **kept)


def _reports(records: Sequence[Record]) -> Set:
    items = [_item(r, reference=r["reference"]) for r in records]
    said = {
        "system": [
            _draft(r, i, text=r["draft"]["text"], seconds=r["draft"]["seconds"])
            for r, i in zip(records, items, strict=True)
        ],
        NEAREST: [Said(id=i.id, text=text) for i, text in zip(items, nearest_reports(records), strict=True)],
    }
    for name in records[0]["floors"]:
        said[name] = [Said(id=i.id, text=r["floors"][name]) for r, i in zip(records, items, strict=True)]
    return items, said


def nearest_reports(records: Sequence[Record]) -> list[str]:
    """For each slide the reference of the other slide whose thumbnail lies nearest in the encoder's space."""
    if len(records) < 2:
        return [""] * len(records)
    vectors = np.asarray([r["embedding"] for r in records])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    return [str(records[int(i)]["reference"]) for i in likeness.argmax(1)]


def _looks(records: Sequence[Record]) -> Set:
    keys = ("mpp", "width", "height", "lesion_polygons", "piece_polygons")
    items = [_item(r, truth={k: r["truth"][k] for k in keys}) for r in records]
    looked = [_draft(r, i, looks=_boxes(r["draft"]["looks"])) for r, i in zip(records, items, strict=True)]
    return items, {"system": looked}


def _claims(records: Sequence[Record]) -> Set:
    """Claims beside those of another slide at their own looks: right words there would be luck."""
    items = [
        _item(r, truth={**r["truth"], "sentences": sorted(c["text"] for c in r["draft"]["claims"])})
        for r in records
    ]
    said = [tuple(ClaimSaid.model_validate(c) for c in r["draft"]["claims"]) for r in records]
    ours = [_draft(r, i, claims=c) for r, i, c in zip(records, items, said, strict=True)]
    others = [Said(id=i.id, claims=said[n - 1]) for n, i in enumerate(items)]
    return items, {"system": ours, "another case's claims": others}


def _questions(records: Sequence[Record], part: str) -> Set:
    items: list[Item] = []
    said: dict[str, list[Said]] = {"system": []}
    for record in records:
        for n, asked in enumerate(record[part]):
            question = asked["question"]
            item = _question_item(record, n, asked, question)
            items.append(item)
            said["system"].append(Said(id=item.id, **asked["said"]))
            for name, answer in asked["floors"].items():
                if part == "questions" or name != SHUFFLED:
                    said.setdefault(name, []).append(Said(id=item.id, text=answer))
    return items, said


def _perturbed(records: Sequence[Record]) -> Set:
    """Questions of one region each; what was answered elsewhere stands beside the answer."""
    items, said = [], []
    for record in records:
        for n, asked in enumerate(record["perturbed"]):
            item = _question_item(record, n, {"notes": "none"}, asked["question"])
            items.append(item.model_copy(update={"truth": {"places": asked["places"]}}))
            answers = dict(asked["said"])
            here = answers.pop(HERE)
            said.append(
                Said(id=item.id, text=here, status="failed" if here is None else "report", perturbed=answers)
            )
    return items, {"system": said}


def _question_item(record: Record, n: int, asked: Mapping[str, Any], question: Mapping[str, Any]) -> Item:
    item = _item(record)
    hidden = question["answer"] == NOT_ASSESSABLE
    wording = "held out" if question["wording_held_out"] else "seen in training"
    return item.model_copy(
        update={
            "id": f"{item.id}-{n + 1}",
            "question": question["text"],
            "options": COUNTS
            if question["kind"] == "count"
            else ()
            if hidden
            else tuple(question["options"]),
            "reference": question["answer"],
            "topic": question["topic"],
            "groups": item.groups
            | {
                "topic": question["topic"],
                "language": question["language"],
                "wording": wording,
                "notes": asked["notes"],
            },
        }
    )


def _boxes(rows: Sequence[Sequence[float]]) -> tuple[Any, ...]:
    return tuple(tuple(row) for row in rows)
