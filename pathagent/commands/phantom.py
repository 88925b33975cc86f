"""`pathagent phantom make`: render a slide whose truth is known exactly."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.options import Force, Json, Seed
from pathagent.output_folder import whole_folder

app = typer.Typer(help="Procedural slides with exact truth.")


class Size(StrEnum):
    """Side at 0.5 µm/px: 3,072, 8,192 or 20,480 px."""

    SMALL = "small"
    STANDARD = "standard"
    LARGE = "large"


SLIDE_NAME: Final = "slide"


@app.callback()
def _group() -> None:
    """Procedural slides with exact truth."""


@app.command("make")
def make(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for slide.tiff and truth.json.")],
    seed: Seed = 0,
    size: Annotated[Size, typer.Option("--size", help="How large a slide.")] = Size.SMALL,
    diagnosis: Annotated[
        str | None, typer.Option("--diagnosis", help="Default: drawn from the seed.")
    ] = None,
    grade: Annotated[str | None, typer.Option("--grade", help="Default: drawn from the seed.")] = None,
    lesion_mm: Annotated[float | None, typer.Option("--lesion-mm", min=0.05, help="Lesion diameter.")] = None,
    artifacts: Annotated[bool, typer.Option(help="Folds, blur, pen, bubbles.")] = True,
    force: Force = False,
    json: Json = False,
) -> None:
    """Render a phantom slide and its truth into an empty folder."""
    with whole_folder(out, force=force) as folder:
        slide = render_slide(
            folder,
            seed=seed,
            size=size,
            diagnosis=diagnosis,
            grade=grade,
            lesion_mm=lesion_mm,
            artifacts=artifacts,
        )
    paths = {"slide": str(out / slide.name), "truth": str(out / "truth.json")}
    if json:
        emit_json(paths)
    else:
        emit(paths["truth"])
        emit(paths["slide"])


def render_slide(
    folder: Path,
    *,
    seed: int,
    size: Size = Size.SMALL,
    diagnosis: str | None = None,
    grade: str | None = None,
    lesion_mm: float | None = None,
    artifacts: bool = True,
) -> Path:
    """Write `slide.tiff` and `truth.json` of one phantom into `folder`; returns the slide."""
    from pathagent_tools.phantom.slide import write_slide
    from pathagent_tools.phantom.world import make_phantom

    phantom = make_phantom(
        seed, size.value, diagnosis=diagnosis, grade=grade, lesion_mm=lesion_mm, artifacts=artifacts
    )
    return write_slide(phantom, folder, name=SLIDE_NAME)
