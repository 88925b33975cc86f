"""`pathagent demo`: the main job on a small phantom, which is judged only when the report is written."""

from __future__ import annotations

import json as json_format
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pathagent.commands.console import emit, emit_json, say
from pathagent.commands.options import Force, Json, Seed
from pathagent.commands.phantom import render_slide
from pathagent.commands.progress import shown_progress
from pathagent.commands.report import REPORT_PAGE
from pathagent.output_folder import whole_folder
from pathagent_tools.core.records import Report

DEMO_SEED: Final = 7


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the slide, report and truth.")] = Path(
        "pathagent-demo"
    ),
    seed: Seed = DEMO_SEED,
    force: Force = False,
    json: Json = False,
) -> None:
    """Render a small phantom slide, draft its report, then show what the truth was."""
    from pathagent.api import draft_report

    with whole_folder(out, force=force) as folder, tempfile.TemporaryDirectory() as studio:
        say("Rendering a small phantom slide …")
        rendered = render_slide(Path(studio), seed=seed)
        slide = folder / "case" / "slide-a.tiff"
        slide.parent.mkdir()
        shutil.copyfile(rendered, slide)
        say("Drafting its report from the slide alone …")
        with shown_progress() as progress:
            draft = draft_report([slide], seed=seed, out=folder / "report", progress=progress)
        truth = Path(studio) / "truth.json"
        shutil.copyfile(truth, folder / "truth.json")
        facts = json_format.loads(truth.read_text())
    page = out.absolute() / "report" / REPORT_PAGE
    if json:
        emit_json({"page": str(page), "report": draft.model_dump(mode="json"), "truth": _answer(facts)})
    else:
        _show(draft, facts, page)


def _show(draft: Report, truth: dict[str, Any], page: Path) -> None:
    first = draft.differential[0] if draft.differential else None
    said = f"{first.text} ({first.probability:.0%})" if first else draft.outcome_text
    emit(f"The report says: {said}")
    emit(f"The truth was:   {_answer(truth)}")
    emit(draft.disclaimer)
    emit(str(page))


def _answer(truth: dict[str, Any]) -> str:
    grade = truth.get("grade") or "none"
    return str(truth["diagnosis"]) if grade == "none" else f"{truth['diagnosis']}, {grade}"
