"""Slides and their reports as instruction data: tiles as PNG, and the chat JSONL that tuning reads.

One slide is open at a time and its tiles are kept, so memory does not grow with the corpus and the same
command goes on where it stopped. A row that gives nothing is a fault: it stops the build, or is counted.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pathagent_finetune.groups import together
from pathagent_finetune.report_examples import examples_of_report
from pathagent_finetune.report_twins import twins
from pathagent_finetune.slide_table import SlideRow, rows_of_table
from pathagent_finetune.slide_tiles import Tile, TileMaker
from pathagent_finetune.splits import point
from pathagent_finetune.tile_rows import RowError
from pathagent_finetune.tuning_example import Split, TuningExample, write_chat_jsonl
from pathagent_finetune.user_corpus import Fault, fault_sentence
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_file, write_text_atomic

log = logging.getLogger(__name__)

EXAMPLES_NAME = "examples.jsonl"
MANIFEST_NAME = "corpus.json"
SETTINGS_NAME = "settings.json"

SameReports = Literal["together", "apart"]


@dataclass(frozen=True)
class Read:
    """A row whose slide was read."""

    row: SlideRow
    digest: str
    tiles: list[Tile]


def build_corpus(
    table: Path,
    maker: TileMaker,
    *,
    validation: float = 0.1,
    seed: int = 0,
    same_reports: SameReports = "together",
    skip_bad: bool = False,
) -> Path:
    """Build the corpus of a table into `maker.out`; returns the JSONL.

    validation: share of the patients that is held out where the table names no split. same_reports:
    whether patients with nearly identical reports stay on one side. Raises UserError: a bad table, rows
    that give nothing (unless `skip_bad`), a leak between splits, an `out` with other settings.
    """
    _check_claim(maker)
    read, faults = _read(table, maker)
    if faults:
        sentence = fault_sentence(faults, len(read) + len(faults), "rows")
        if not skip_bad:
            raise UserError(f"{sentence} Mend them, or add --skip-bad to leave them out and count them.")
        log.warning("%s They are skipped.", sentence)
    if not read:
        raise UserError(f"{table.name} gives no slide with a report: mend its rows.")
    labels = twins([r.row.report for r in read])
    read = _with_splits(read, labels, share=validation, seed=seed, same_reports=same_reports)
    examples = [
        example
        for r in read
        for example in examples_of_report(r.row, r.tiles, maker.out, split=r.row.split or "train", seed=seed)
    ]
    path = maker.out / EXAMPLES_NAME
    write_chat_jsonl(examples, path)
    said = _manifest(maker, read, examples, faults, labels) | {
        "validation": validation, "seed": seed, "same_reports": same_reports, "sha256": sha256_file(path),
    }  # fmt: skip
    write_text_atomic(maker.out / MANIFEST_NAME, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    return path


def _check_claim(maker: TileMaker) -> None:
    path = maker.out / SETTINGS_NAME
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != maker.settings:
        raise UserError(f"{maker.out} holds a corpus with other tiles: choose another --out.")
    if not path.is_file() and maker.out.is_dir() and any(maker.out.iterdir()):
        raise UserError(f"{maker.out} is not empty and holds no corpus: choose another --out.")
    write_text_atomic(path, json.dumps(maker.settings) + "\n")


def _read(table: Path, maker: TileMaker) -> tuple[list[Read], list[Fault]]:
    read, faults, patients = list[Read](), list[Fault](), dict[str, Read]()
    for place, row in rows_of_table(table):
        try:
            if isinstance(row, RowError):
                raise row
            log.info("%s: %s", place, row.slide.name)
            digest, tiles = maker.tiles_of(row)
            found = Read(row, digest, tiles)
            _check_repeat(found, patients.setdefault(digest, found))
            read.append(found)
        except RowError as error:
            faults.append(Fault(error.kind, place, str(error)))
    return read, faults


def _check_repeat(found: Read, first: Read) -> None:
    """RowError where the bytes of the slide stand on an earlier row, of another patient or just again."""
    if found is first:
        return
    if found.row.patient != first.row.patient:
        raise RowError("slide of two patients", f"{found.row.slide.name} is that of {first.row.place}")
    if found.row.report == first.row.report:
        raise RowError("repeated row", f"the slide and report of {first.row.place}")


def _with_splits(
    read: Sequence[Read], labels: Sequence[str], *, share: float, seed: int, same_reports: SameReports
) -> list[Read]:
    """Every row with its split. UserError where the table's own splits leak, or a split is empty."""
    keys = [
        [f"patient {r.row.patient}", f"slide {r.digest}", *([label] if same_reports == "together" else [])]
        for r, label in zip(read, labels, strict=True)
    ]
    _check_leaks(read, keys)
    groups = together(keys)
    given = {group: r.row.split for group, r in zip(groups, read, strict=True) if r.row.split}
    _check_leaks(read, [[f"group {group}"] for group in groups])
    points = {group: point(group, seed) for group in groups if group not in given}
    held = {group for group, value in points.items() if value < share}
    if not held and points and "validation" not in given.values():
        held = {min(points, key=points.__getitem__)}
    drawn: dict[str, Split] = {group: "validation" if group in held else "train" for group in points}
    splits = given | drawn
    done = [
        replace(r, row=replace(r.row, split=splits[group])) for r, group in zip(read, groups, strict=True)
    ]
    if missing := {"train", "validation"} - {r.row.split for r in done}:
        more = " or add --same-reports apart" if same_reports == "together" and len(read) > 1 else ""
        raise UserError(
            f"No slide is left for {' and '.join(sorted(missing))}: the {len(read)} rows are "
            f"{len(set(groups))} group(s) that share a patient, a slide or a report; "
            f"give more patients{more}."
        )
    return done


def _check_leaks(read: Sequence[Read], keys: Sequence[Sequence[str]]) -> None:
    seen: dict[str, Read] = {}
    for r, own in zip(read, keys, strict=True):
        for key in own if r.row.split else ():
            first = seen.setdefault(key, r)
            if first.row.split != r.row.split:
                raise UserError(
                    f"{_what(key)} is in {first.row.split} ({first.row.place}) and in {r.row.split} "
                    f"({r.row.place}): put each patient, slide and report into one split."
                )


def _what(key: str) -> str:
    kind, _, name = key.partition(" ")
    if kind == "patient":
        return f"The patient {name}"
    if kind == "slide":
        return f"The slide with sha256 {name[:12]}"
    return "A nearly identical report" if kind == "text" else f"What hangs together by {name}"


def _manifest(
    maker: TileMaker,
    read: Sequence[Read],
    examples: Sequence[TuningExample],
    faults: Sequence[Fault],
    labels: Sequence[str],
) -> dict[str, Any]:
    sides: dict[str, set[str | None]] = {}
    for r, label in zip(read, labels, strict=True):
        sides.setdefault(label, set()).add(r.row.split)
    asked = {e.id.rpartition("#")[0] for e in examples if e.role == "question"}
    return {
        "settings": maker.settings,
        "slides": [
            {"place": r.row.place, "sha256": r.digest, "split": r.row.split, "tiles": len(r.tiles)}
            for r in read
        ],
        "patients": len({r.row.patient for r in read}),
        "examples": dict(Counter(f"{e.split} {e.role}" for e in examples)),
        "slides_with_fewer_tiles": sum(len(r.tiles) < maker.count for r in read),
        "reports_without_facts": sum(r.row.place not in asked for r in read),
        "reports_with_a_twin_in_another_split": sum(len(sides[label]) > 1 for label in labels),
        "skipped": dict(Counter(f.kind for f in faults)),
        "faults": [f"{f.place}: {f.kind}: {f.detail}" for f in faults],
    }
