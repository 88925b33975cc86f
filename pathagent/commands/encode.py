"""`pathagent encode`: tile features of slides, for people who only want features."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pathagent.commands.console import emit, emit_json, say
from pathagent.commands.options import Json, Mpp, MppCsv
from pathagent_tools.core.errors import BatchFailuresError

if TYPE_CHECKING:
    from pathagent.encoding.state import SlideState


def encode(
    slides: Annotated[
        list[str], typer.Argument(help="Slides, folders, 'slides/*.svs', or a CSV with columns wsi,mpp.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of the job, in TRIDENT's layout; the same call resumes it."),
    ],
    encoder: Annotated[
        str,
        typer.Option("--encoder", help="See: pathagent models list. Or local-dir:/path, hf-hub:org/repo."),
    ] = "embedded",
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    wsi_dir: Annotated[
        Path | None, typer.Option("--wsi-dir", help="What the paths of a CSV are relative to (its folder).")
    ] = None,
    overlap: Annotated[
        int, typer.Option("--overlap", min=0, help="Pixels that neighbouring tiles share.")
    ] = 0,
    min_tissue: Annotated[
        float, typer.Option("--min-tissue", min=0, max=1, help="Share of tissue that a tile must have.")
    ] = 0.25,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that read tiles.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Resize from full detail; slower, and hardly different.")
    ] = False,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="Go on after a slide that fails (exit code 3 at the end).")
    ] = False,
    imported: Annotated[
        Path | None,
        typer.Option("--import", help="Take features over from this folder of TRIDENT's or CLAM's."),
    ] = None,
    tile_mpp: Annotated[
        float | None, typer.Option("--tile-mpp", help="µm/px of the encoder's tiles, if nothing states it.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Folder with a published encoder's files.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1 …")] = "cpu",
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime", help="On a CPU: auto, eager, folded, openvino, openvino-bf16 (extra fast)."
        ),
    ] = "auto",
    json: Json = False,
) -> None:
    """Encode the tissue tiles of slides into HDF5 files. Research use only."""
    from pathagent.encoding.call import encode as run

    with _shown() as (planned, shown, progress):
        states = []
        for state in run(
            slides,
            out,
            encoder=encoder,
            mpp=mpp,
            mpp_csv=mpp_csv,
            wsi_dir=wsi_dir,
            overlap_px=overlap,
            min_tissue=min_tissue,
            workers=workers,
            resampling="exact" if exact else "reduced",
            skip_errors=skip_errors,
            imported=imported,
            tile_mpp=tile_mpp,
            weights=weights,
            device=device,
            runtime=runtime,  # type: ignore[arg-type]
            progress=progress,
            planned=planned,
        ):
            states.append(state)
            shown(state)
    if json:
        emit_json({"out": str(out), "slides": [s.model_dump(mode="json") for s in states]})
    else:
        emit(str(out / "summary.md"))
    failures = sum(state.status == "error" for state in states)
    if failures:
        raise BatchFailuresError(
            f"{failures} of {len(states)} slides failed; why stands in {out / 'summary.md'}. "
            "The same command tries them again."
        )


@contextmanager
def _shown() -> Iterator[tuple[Any, Any, Any]]:
    """(told the number of slides, told each state, told tiles): bars, or lines where nobody watches."""
    if not sys.stderr.isatty():
        yield (lambda total: None, _say, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as bars:
        whole = bars.add_task("slides", total=None)
        tiles = bars.add_task("tiles", total=None)

        def shown(state: SlideState) -> None:
            bars.console.print(_line(state), markup=False)
            bars.advance(whole)

        yield (
            lambda total: bars.update(whole, total=total),
            shown,
            lambda name, done, of: bars.update(tiles, description=name, completed=done, total=of),
        )


def _say(state: SlideState) -> None:
    say(_line(state))


def _line(state: SlideState) -> str:
    said = f": {state.reason}" if state.reason else ""
    return f"{state.name}: {state.status}, {state.tiles} tiles{said}"
