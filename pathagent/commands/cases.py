"""`pathagent cases`: an index of one's own slides, and what in it is similar."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.inputs import read_region
from pathagent.commands.options import Json, Mpp, MppCsv
from pathagent_tools.core.errors import UserError

app = typer.Typer(help="Similar cases among one's own slides.", no_args_is_help=False)
Index = Annotated[Path, typer.Option("--index", help="Folder of the index.")]
Encoder = Annotated[str, typer.Option("--encoder", help="See: pathagent models list.")]


@app.callback()
def _group() -> None:
    """Similar cases among one's own slides."""


@app.command("add")
def add(
    slides: Annotated[list[str], typer.Argument(help="Slides, folders, 'slides/*.svs'.")],
    index: Index,
    texts: Annotated[
        Path | None, typer.Option("--texts", help="CSV with columns slide,text: what was reported.")
    ] = None,
    encoder: Encoder = "embedded",
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    json: Json = False,
) -> None:
    """Add slides to an index of cases. Research use only."""
    from pathagent.case_search import index_cases
    from pathagent.encoding.inputs import read_inputs

    paths = [item.path for item in read_inputs(slides)]
    added = index_cases(paths, index, texts=_texts(texts), encoder=encoder, mpp=mpp, mpp_csv=mpp_csv)
    if json:
        emit_json({"index": str(index), "added": [case.model_dump() for case in added]})
        return
    emit(f"{len(added)} of {len(paths)} slides added to {index}; the rest were there.")


@app.command("find")
def find(
    index: Index,
    text: Annotated[str | None, typer.Option("--text", help="Words to search by.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Text file of a report: whose slide is it?")
    ] = None,
    slide: Annotated[Path | None, typer.Option("--slide", help="Slide to search by.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="X,Y,WIDTH,HEIGHT of that slide, level-0 px.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Cases and tiles to show.")] = 5,
    encoder: Encoder = "embedded",
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    json: Json = False,
) -> None:
    """Find cases and tiles like words, a report, a region, or a slide. To compare with; never evidence."""
    from pathagent.case_search import COMPARE, similar

    cases, tiles = similar(
        index,
        text=text,
        report=None if report is None else _report(report),
        slide=slide,
        region=read_region(region),
        count=count,
        encoder=encoder,
        mpp=mpp,
        mpp_csv=mpp_csv,
    )
    if json:
        emit_json({"note": COMPARE, "cases": [_plain(c) for c in cases], "tiles": [_plain(t) for t in tiles]})
        return
    for case in cases:
        emit(f"{case.likeness:.3f}  {case.case.name}  {case.case.text}".rstrip())
    for tile in tiles:
        emit(f"{tile.likeness:.3f}  {tile.case.name}  x {tile.x}, y {tile.y}, {tile.side} px")
    emit(COMPARE)


def _report(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a text: {error}.") from None


def _plain(hit: Any) -> dict[str, Any]:
    return {**asdict(hit), "case": hit.case.model_dump()}


def _texts(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    if not path.is_file():
        raise UserError(f"No such table: {path}. --texts wants a CSV with the columns slide,text.")
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        if missing := {"slide", "text"} - set(reader.fieldnames or ()):
            raise UserError(f"{path} lacks the column {min(missing)}. It needs slide,text.")
        return {Path(row["slide"]).name: row["text"] for row in reader}
