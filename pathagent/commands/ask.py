"""`pathagent ask`: one question to one slide, or to the slides of one case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.inputs import budget_of, read_notes
from pathagent.commands.options import (
    Force,
    Json,
    Looks,
    Mpp,
    MppCsv,
    Notes,
    Profile,
    Seconds,
    Seed,
    Tokens,
    VlmModel,
    VlmUrl,
)
from pathagent.commands.progress import shown_progress
from pathagent.commands.report import REPORT_PAGE
from pathagent.output_folder import check_folder
from pathagent_tools.core.errors import UserError


def ask(
    slides: Annotated[
        list[Path] | None,
        typer.Argument(help="Slide file, or a folder that holds one DICOM series; several of one case."),
    ] = None,
    question: Annotated[str, typer.Argument(help="The question, in words; after the slides.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the report folder.")] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            help="X,Y,WIDTH,HEIGHT in level-0 px: look and answer only there. Second slide: S2:X,Y,…",
        ),
    ] = None,
    notes: Notes = None,
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    profile: Profile = "embedded",
    vlm_url: VlmUrl = None,
    vlm_model: VlmModel = None,
    looks: Looks = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
) -> None:
    """Ask a slide a question; the answer cites its evidence or says that it cannot be told."""
    from pathagent.api import ask as ask_slide

    if not slides or not question.strip():
        raise UserError(
            "A slide and a question are needed, the question last and in quotes. "
            'Type for example: pathagent ask slide.svs "Is there invasive tumour?"'
        )
    if out is not None:
        check_folder(out, force=force)
    with shown_progress() as progress:
        draft = ask_slide(
            slides,
            question,
            region=region,
            notes=read_notes(notes),
            profile=profile,
            mpp=mpp,
            mpp_csv=mpp_csv,
            budget=budget_of(looks=looks, tokens=tokens, seconds=seconds),
            seed=seed,
            out=out,
            vlm_url=vlm_url,
            vlm_model=vlm_model,
            force=force,
            progress=progress,
        )
    if json:
        emit_json({"out": None if out is None else str(out), "report": draft.model_dump(mode="json")})
        return
    emit(draft.answer or draft.outcome_text)
    for claim in draft.claims:
        if claim.section == "answer" and claim.evidence:
            emit(f"  evidence: {', '.join(claim.evidence)} ({claim.verdict})")
    emit(draft.disclaimer)
    if out is not None:
        emit(str(out / REPORT_PAGE))
