"""Tables of reference texts and of predictions: one row a case."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pathagent_tools.core.errors import UserError


class Prediction(NamedTuple):
    """What a system said of a case. `text` is empty where it abstained and None where it failed."""

    text: str | None
    status: Literal["report", "abstained", "failed"]


def read_references(path: Path) -> dict[str, tuple[str, str | None]]:
    """Case → (reference text, patient), from a CSV or JSONL with `case,reference` and maybe `patient`.

    UserError on an absent or empty table, a case named twice, an empty reference.
    """
    found: dict[str, tuple[str, str | None]] = {}
    for number, row in table_rows(path, ("case", "reference")):
        case, text = str(row["case"]), str(row["reference"] or "")
        if case in found:
            raise UserError(f"{path}, line {number}: case {case} has two references. Drop one.")
        if not text.strip():
            raise UserError(f"{path}, line {number}: the reference of case {case} is empty. Fill or drop it.")
        found[case] = (text, str(row["patient"]) if row.get("patient") else None)
    return found


def read_predictions(path: Path) -> dict[str, Prediction]:
    """Case → what was said, from a CSV or JSONL with `case,text` and maybe `status`.

    Without a status an empty text is an abstention, a null a failure. UserError as `read_references`.
    """
    found: dict[str, Prediction] = {}
    for number, row in table_rows(path, ("case", "text")):
        case, text = str(row["case"]), row["text"]
        if case in found:
            raise UserError(f"{path}, line {number}: case {case} is predicted twice. Drop one.")
        if text is not None and not isinstance(text, str):
            raise UserError(f"{path}, line {number}: the text of case {case} is no text. Write it in quotes.")
        if text is None or row.get("status") == "failed":
            found[case] = Prediction(None, "failed")
        else:
            abstained = not text.strip() or row.get("status") == "abstained"
            found[case] = Prediction(text, "abstained" if abstained else "report")
    return found


def table_rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of a CSV or JSONL table; UserError where it is none, is empty or lacks a column."""
    if not path.is_file():
        raise UserError(f"No such file: {path}. Give a CSV or JSONL with {','.join(needed)}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. Save it as UTF-8 and give it again.") from None
    read = _jsonl if path.suffix.lower() in (".jsonl", ".json") else _csv
    empty = True
    for number, row in read(path, text):
        lacking = [name for name in needed if name not in row]
        if lacking:
            raise UserError(
                f"{path}, line {number} has no {lacking[0]!r}. Each row needs {', '.join(needed)}."
            )
        empty = False
        yield number, row
    if empty:
        raise UserError(f"{path} holds no rows. Give a table with {', '.join(needed)}.")


def _csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from enumerate(csv.DictReader(io.StringIO(text, newline="")), 2)


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {number} is no JSON: {error.msg}. Write one object a line."
            ) from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} is no JSON object. Write one object a line.")
        yield number, row
