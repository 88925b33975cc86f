"""The table of a slide corpus: a slide, its report, its patient, on each row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathagent_finetune.data_rows import split_of
from pathagent_finetune.tile_rows import RowError
from pathagent_finetune.tuning_example import Split
from pathagent_tools.core.errors import UserError

NEEDED = ("slide", "report", "patient")
REPORT_FILES = (".txt", ".md")


@dataclass(frozen=True, slots=True)
class SlideRow:
    """One slide with its report; `mpp` in µm per level-0 pixel, None where the slide states it."""

    place: str
    slide: Path
    report: str
    patient: str
    mpp: float | None = None
    split: Split | None = None


def rows_of_table(path: Path) -> Iterator[tuple[str, SlideRow | RowError]]:
    """(place, row or what is wrong with it) of each row of the CSV; paths are relative to its folder.

    UserError where there is no such table, or a needed column is missing.
    """
    if not path.is_file():
        raise UserError(f"There is no table at {path}: give a CSV with columns {', '.join(NEEDED)}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines)
            if missing := [name for name in NEEDED if name not in (table.fieldnames or ())]:
                raise UserError(
                    f"{path.name} has no column {', '.join(missing)}; it needs {', '.join(NEEDED)}, and may "
                    "have mpp and split."
                )
            for row in table:
                place = f"{path.name}:{table.line_num}"
                try:
                    yield place, _row(place, row, path.parent)
                except RowError as error:
                    yield place, error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path.name} cannot be read as UTF-8 text: {error}.") from None


def _row(place: str, row: dict[str, str | None], folder: Path) -> SlideRow:
    cells = {name: (value or "").strip() for name, value in row.items() if isinstance(value, str)}
    if not cells.get("slide"):
        raise RowError("missing slide", "no slide is named")
    if not cells.get("patient"):
        raise RowError("missing patient", "no patient is named, so no split can be kept apart")
    return SlideRow(
        place=place,
        slide=folder / cells["slide"],
        report=_report(cells.get("report", ""), folder),
        patient=cells["patient"],
        mpp=_mpp(cells.get("mpp", "")),
        split=split_of(cells),
    )


def _report(cell: str, folder: Path) -> str:
    """The cell's own text, or that of the .txt or .md file that it names; white space at ends cut."""
    if cell.endswith(REPORT_FILES) and "\n" not in cell:
        try:
            cell = (folder / cell).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RowError("unreadable report", f"{cell}: {error}") from None
    if not cell:
        raise RowError("empty report", "there is no text to learn")
    return cell


def _mpp(cell: str) -> float | None:
    if not cell:
        return None
    try:
        mpp = float(cell)
    except ValueError:
        mpp = 0.0
    if not 0 < mpp < 1000:
        raise RowError("bad mpp", f"{cell!r} is no size of a pixel in µm")
    return mpp
