"""`pathagent report`: one case, one folder, one draft."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from pathagent.commands.console import emit, emit_json, say
from pathagent.commands.inputs import budget_of, read_notes
from pathagent.commands.options import (
    CaseIndexFolder,
    Force,
    Json,
    Knowledge,
    Looks,
    Mpp,
    MppCsv,
    Notes,
    Profile,
    Seconds,
    Seed,
    Specimen,
    Tokens,
    VlmModel,
    VlmUrl,
)
from pathagent.commands.progress import shown_progress
from pathagent.output_folder import check_folder
from pathagent_tools.core.records import Report

REPORT_PAGE: Final = "report.html"


class Way(StrEnum):
    """What `--navigation` takes."""

    AGENT = "agent"
    RANDOM = "random"
    GRID = "grid"
    SALIENCY = "saliency"
    QUESTION = "question"
    NO_MEMORY = "no-memory"


PAUSED: Final = 4
"""Exit code of a run that waits at its checkpoint."""


def report(
    slides: Annotated[list[Path], typer.Argument(help="Slides of one case: parts, blocks, stains.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report. Default: SLIDE-report.")
    ] = None,
    question: Annotated[str | None, typer.Option("--question", help="What the report should answer.")] = None,
    notes: Notes = None,
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    specimen: Specimen = None,
    profile: Profile = "embedded",
    vlm_url: VlmUrl = None,
    vlm_model: VlmModel = None,
    looks: Looks = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    seed: Seed = 0,
    review: Annotated[
        bool, typer.Option("--review", help="Pause for a human decision: pathagent review.")
    ] = False,
    navigation: Annotated[
        Way, typer.Option("--navigation", help="How places are chosen: the agent, or a simpler way.")
    ] = Way.AGENT,
    illustrate: Annotated[
        bool,
        typer.Option("--illustrate", help="Draw marked synthetic images where they help (slower)."),
    ] = False,
    knowledge: Knowledge = None,
    cases: CaseIndexFolder = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Draft an evidence-linked report of a case. Research use only."""
    from pathagent.api import draft_report
    from pathagent.rules.synoptic import specimen_of

    kind = None if specimen is None else specimen_of(specimen)
    folder = out or Path(f"{slides[0].stem or slides[0].name}-report")
    check_folder(folder, force=force)
    with shown_progress() as progress:
        draft = draft_report(
            slides,
            question=question,
            notes=read_notes(notes),
            specimen=kind,
            profile=profile,
            mpp=mpp,
            mpp_csv=mpp_csv,
            budget=budget_of(looks=looks, tokens=tokens, seconds=seconds),
            seed=seed,
            out=folder,
            vlm_url=vlm_url,
            vlm_model=vlm_model,
            review="required" if review else "none",
            navigation=navigation.value,
            illustrate=illustrate,
            knowledge=knowledge,
            cases=cases,
            force=force,
            progress=progress,
        )
    show_report(draft, folder, json=json)
    if review:
        from pathagent.commands.review import how_to_decide

        say(how_to_decide(folder))
        raise typer.Exit(PAUSED)


def show_report(draft: Report, folder: Path, *, json: bool) -> None:
    """Print what a run ended in; the path of the page comes last."""
    page = folder / REPORT_PAGE
    if json:
        emit_json({"out": str(folder), "page": str(page), "report": draft.model_dump(mode="json")})
        return
    emit(draft.outcome_text)
    for hypothesis in draft.differential[:3]:
        emit(f"  {hypothesis.probability:4.0%}  {hypothesis.text}")
    if draft.answer is not None:
        emit(draft.answer)
    emit(draft.disclaimer)
    emit(str(page))
