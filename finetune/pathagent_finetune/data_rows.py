"""Rows of a user's data, wherever they stand: a JSONL or CSV file, or a folder of images."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pathagent_finetune.tile_rows import USED_COLUMNS, RowError
from pathagent_finetune.tuning_example import Split
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.review_pair import PAIRS_NAME, REVIEW_FOLDER

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"))
BROKEN = "\0broken"
"""Key of a row that could not be read: its value says why."""
COLUMNS = {"file_name": "image", "text": "caption"}
"""Names of the image-folder convention of the hub, as ours."""
_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip

Row = Mapping[str, Any]


def rows_of(path: Path) -> Iterator[tuple[str, Row, Path]]:
    """(place, row, folder that image paths are relative to) of whatever `path` holds.

    UserError where it is neither a .jsonl or .csv file nor a folder, or no column can be used.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    if not path.exists():
        raise UserError(f"There is no data at {path}: give a .jsonl or .csv file, or a folder of images.")
    if not path.is_dir() and path.suffix not in readers:
        raise UserError(f"{path.name} cannot be read: give a .jsonl or .csv file, or a folder of images.")
    try:
        yield from _folder_rows(path) if path.is_dir() else readers[path.suffix](path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path.name} cannot be read as UTF-8 text: {error}.") from None


def split_of(row: Row) -> Split | None:
    """The split that a row names, None where it names none. RowError on another word."""
    named = str(row.get("split") or "").strip().lower()
    if named and named not in _SPLITS:
        raise RowError("unknown split", f"{named!r} is none of train, validation, test")
    return _SPLITS[named] if named else None


def _csv_rows(path: Path) -> Iterator[tuple[str, Row, Path]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines)
        columns = {COLUMNS.get(name, name) for name in table.fieldnames or ()}
        if "image" not in columns or not columns.intersection(USED_COLUMNS):
            raise UserError(
                f"{path.name} needs a column `image` and one of {', '.join(USED_COLUMNS)}; "
                f"it has {', '.join(table.fieldnames or ('none',))}."
            )
        for row in table:
            yield f"{path.name}:{table.line_num}", row, path.parent


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Row, Path]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{path.name}:{number}", _object(line), path.parent


def _object(line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return {BROKEN: f"not JSON: {error.msg}"}
    return row if isinstance(row, dict) else {BROKEN: "not a JSON object"}


def _folder_rows(folder: Path) -> Iterator[tuple[str, Row, Path]]:
    """Reviewed cases; metadata.csv or metadata.jsonl; same-named .txt captions; the name of the class folder.

    The first of these that the folder holds. UserError where it holds cases and none was reviewed.
    """
    if reviewed := sorted(folder.rglob(f"{REVIEW_FOLDER}/{PAIRS_NAME}")):
        for pairs in reviewed:
            inside = pairs.parent.relative_to(folder).as_posix()
            for line, row, beside in _jsonl_rows(pairs):
                yield f"{inside}/{line}", row, beside
        return
    if any(folder.rglob("report.json")):
        raise UserError(
            f"{folder} holds cases and none of them was reviewed: draft with --review, then type "
            "pathagent review CASE --approve (or --edit C1='new text')."
        )
    for name, read in (("metadata.csv", _csv_rows), ("metadata.jsonl", _jsonl_rows)):
        if (folder / name).is_file():
            yield from read(folder / name)
            return
    images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
    captioned = any(p.with_suffix(".txt").is_file() for p in images)
    for image in images:
        place = image.relative_to(folder)
        if captioned:
            text = image.with_suffix(".txt")
            caption = text.read_text(encoding="utf-8").strip() if text.is_file() else ""
        else:
            caption = place.parts[0] if len(place.parts) > 1 else ""
        yield place.as_posix(), {"image": place.as_posix(), "caption": caption}, folder
