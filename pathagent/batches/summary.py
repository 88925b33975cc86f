"""The table of a batch: as CSV, Parquet and Markdown, and a page of thumbnails that opens offline."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from pathagent.batches.case import CaseResult
from pathagent_tools.core.files import write_bytes_atomic, write_text_atomic
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

COLUMNS: Final = (
    "case", "state", "kind", "outcome", "diagnosis", "slides", "reason", "folder", "attempts", "seconds"
)  # fmt: skip
"""Those before `attempts` are the same however often the batch was interrupted."""


def write_summary(out: Path, results: Sequence[CaseResult], waiting: Sequence[str] = ()) -> None:
    """Write `summary.csv`, `.parquet`, `.md` and `index.html`. waiting: cases that have not ended."""
    write_text_atomic(out / "summary.csv", _csv(results))
    write_bytes_atomic(out / "summary.parquet", _parquet(results))
    write_text_atomic(out / "summary.md", summary_markdown(results, waiting))
    page: str = _template("contact.html.j2").render(
        results=results, counts=counts(results, waiting), disclaimer=RESEARCH_USE_ONLY
    )
    write_text_atomic(out / "index.html", page)


def counts(results: Sequence[CaseResult], waiting: Sequence[str] = ()) -> dict[str, int]:
    """How many cases ended how; what did not happen is left out."""
    ends = Counter(r.outcome if r.state == "done" else f"failed: {r.kind}" for r in results)
    total = {"cases": len(results) + len(waiting)}
    return total | dict(sorted(ends.items())) | ({"waiting": len(waiting)} if waiting else {})


def summary_markdown(results: Sequence[CaseResult], waiting: Sequence[str] = ()) -> str:
    """Counts, then one line a case."""
    from pathagent.report.text import escape

    lines = ["# Batch", "", RESEARCH_USE_ONLY, "", "| what | cases |", "| --- | ---: |"]
    lines += [f"| {escape(name)} | {n} |" for name, n in counts(results, waiting).items()]
    lines += ["", "| case | result | diagnosis or reason | s |", "| --- | --- | --- | ---: |"]
    for r in results:
        ended = r.outcome if r.state == "done" else f"failed: {r.kind}"
        cells = [r.case, ended, r.diagnosis or r.reason]
        lines.append(f"| {' | '.join(escape(cell) for cell in cells)} | {r.seconds:.1f} |")
    lines += [f"| {escape(name)} | waiting | | |" for name in waiting]
    return "\n".join(lines) + "\n"


def _csv(results: Sequence[CaseResult]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([getattr(result, column) for column in COLUMNS] for result in results)
    return text.getvalue()


def _parquet(results: Sequence[CaseResult]) -> bytes:
    """The columns of the CSV, with the report's sentences, and numbers as numbers."""
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    types = {"slides": pa.int32(), "attempts": pa.int32(), "seconds": pa.float64()}
    names = (*COLUMNS, "text")
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    rows = [{name: getattr(result, name) for name in names} for result in results]
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()


@cache
def _template(name: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("pathagent.batches")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(name)
