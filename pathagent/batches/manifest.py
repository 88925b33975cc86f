"""From what the user typed to cases: a CSV, a folder, a pattern or a list of slides.

Everything that can be known to be wrong before work starts is said here, in one sentence.
"""

from __future__ import annotations

import csv
import difflib
import glob
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pathagent.batches.case import BatchCase, BatchSlide
from pathagent_tools.core.errors import UserError
from pathagent_tools.slides.source import SLIDE_SUFFIXES

COLUMNS: Final = ("case", "slide", "mpp", "history", "specimen", "patient", "reference")
"""Columns of a manifest. Only `slide` is needed; without `case` each slide is a case of its own."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+=@-]{0,99}")
_ALIASES: Final = {"wsi": "slide", "notes": "history"}


def read_manifest(given: str | Path | Sequence[str | Path]) -> list[BatchCase]:
    """The cases, in the order given. UserError where nothing, or nothing usable, is named."""
    items = [str(given)] if isinstance(given, str | Path) else [str(item) for item in given]
    if len(items) == 1 and items[0].lower().endswith(".csv"):
        cases = _of_csv(Path(items[0]))
    else:
        cases = _of_slides([path for item in items for path in slides_of(item)])
    if not cases:
        shown = ", ".join(items) or "nothing"
        raise UserError(f"No slides in {shown}. Give a CSV with a column slide, a folder or 'slides/*.svs'.")
    _check_names(cases)
    return cases


def slides_of(item: str) -> list[Path]:
    """The slides that one argument names: itself, those of a folder, or those of a pattern."""
    path = Path(item).expanduser()
    if path.is_dir() and not any(path.glob("*.dcm")):
        return sorted(p for p in path.iterdir() if p.suffix.lower() in SLIDE_SUFFIXES)
    if path.exists() or not glob.has_magic(item):
        return [path]
    base = Path(path.anchor)
    return sorted(base.glob(str(path.relative_to(base))))


def _of_slides(paths: Sequence[Path]) -> list[BatchCase]:
    twice = [stem for stem, n in Counter(path.stem.lower() for path in paths).items() if n > 1]
    if twice:
        same = [str(p) for p in paths if p.stem.lower() == twice[0]]
        raise UserError(
            f"Two slides have the same name: {' and '.join(same[:2])}. "
            "Give a CSV with columns case,slide that names their cases."
        )
    return [BatchCase(name=p.stem, slides=(BatchSlide(path=str(p.resolve())),)) for p in paths]


def _of_csv(path: Path) -> list[BatchCase]:
    """Rows of one case become one case of several slides; paths are relative to the CSV."""
    if not path.is_file():
        raise UserError(f"No such manifest: {path}. Give a CSV with columns case,slide.")
    rows = list(_rows(path))
    named: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        named.setdefault(row.get("case") or Path(row["slide"]).stem, []).append(row)
    if rows and "case" not in rows[0] and len(named) < len(rows):
        (stem, _), *_ = Counter(Path(row["slide"]).stem for row in rows).most_common(1)
        raise UserError(f"{path} names two slides {stem}. Add a column case that says which case each is of.")
    return [_case(name, group, path) for name, group in named.items()]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Each row with its known columns, stripped. UserError on a table that cannot be one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. Save the table as CSV UTF-8 and give it again.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = {
        name: _ALIASES.get(name.strip().lower(), name.strip().lower()) for name in reader.fieldnames or ()
    }
    _check_columns(path, list(columns.values()))
    try:
        for number, row in enumerate(reader, 2):
            known = {columns[k]: (v or "").strip() for k, v in row.items() if k in columns}
            if not known["slide"]:
                raise UserError(f"{path}, line {number}: no slide is named. Fill the column slide.")
            if known.get("case") == "":
                raise UserError(f"{path}, line {number}: no case is named. Fill the column case.")
            yield {k: v for k, v in known.items() if k in COLUMNS}
    except csv.Error as error:
        raise UserError(f"{path} is not a readable CSV: {error}. Look at: head {path}") from None


def _check_columns(path: Path, found: list[str]) -> None:
    if "slide" not in found:
        raise UserError(
            f"{path} has no column slide; it has: {', '.join(found) or 'none'}. Known: {', '.join(COLUMNS)}."
        )
    for name in set(found) - set(COLUMNS):
        close = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.75)
        if close:
            raise UserError(f"{path} has a column {name!r}. Did you mean {close[0]!r}? Rename or drop it.")


def _case(name: str, rows: Sequence[dict[str, str]], path: Path) -> BatchCase:
    """The rows of one case together; what is said once for the case may not be said differently twice."""
    slides = tuple(
        BatchSlide(path=str((path.parent / row["slide"]).expanduser().resolve()), mpp=_mpp(row, path))
        for row in rows
    )
    names = Counter(slide.name for slide in slides)
    (twice, count), *_ = names.most_common(1)
    if count > 1:
        raise UserError(f"{path}: case {name} names two slides {twice}. Rename one, or drop the second row.")
    said: dict[str, str | None] = {}
    for column in ("history", "specimen", "patient", "reference"):
        values = {row[column] for row in rows if row.get(column)}
        if len(values) > 1:
            raise UserError(f"{path}: case {name} has two different values of {column}. Give it once.")
        said[column] = values.pop() if values else None
    return BatchCase(name=name, slides=slides, **said)


def _mpp(row: dict[str, str], path: Path) -> float | None:
    text = row.get("mpp", "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 < value < float("inf"):
        raise UserError(
            f"{path}: the mpp of {row['slide']} is {text!r}. Write µm per pixel, for example 0.5."
        )
    return value


def _check_names(cases: Sequence[BatchCase]) -> None:
    for case in cases:
        if not _NAME.fullmatch(case.name):
            raise UserError(
                f"{case.name!r} cannot name a folder. Name cases with letters, digits, blanks and . _ + = @ -"
            )
    twice = [name for name, n in Counter(case.name.lower() for case in cases).items() if n > 1]
    if twice:
        raise UserError(f"Two cases are named {twice[0]!r} but for upper and lower case. Rename one of them.")
    owner: dict[str, str] = {}
    for case in cases:
        for slide in case.slides:
            other = owner.setdefault(slide.path, case.name)
            if other != case.name:
                raise UserError(
                    f"{slide.path} is a slide of case {other} and of case {case.name}. Drop one row."
                )


def with_references(
    cases: Sequence[BatchCase], references: dict[str, tuple[str, str | None]]
) -> list[BatchCase]:
    """The cases with the texts of a table, case → (text, patient). UserError where they do not match."""
    names = {case.name for case in cases}
    strangers, without = sorted(set(references) - names), sorted(names - set(references))
    if strangers or without:
        told = [f"no case is named {strangers[0]!r}"] if strangers else []
        told += [f"case {without[0]!r} has none"] if without else []
        raise UserError(
            f"The references do not match the cases ({len(strangers)} too many, {len(without)} missing): "
            f"{' and '.join(told)}. Give one reference a case."
        )
    return [
        case.model_copy(
            update={
                "reference": references[case.name][0],
                "patient": references[case.name][1] or case.patient,
            }
        )
        for case in cases
    ]


def shard_of(cases: Sequence[BatchCase], shard: str) -> list[BatchCase]:
    """Every n-th case, from `i/n` (1/4 to 4/4). UserError on anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    i, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= i <= n:
        raise UserError(f"--shard {shard} is no part of a whole. Type for example --shard 1/4 … --shard 4/4.")
    return list(cases[i - 1 :: n])
