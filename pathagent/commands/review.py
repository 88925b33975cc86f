"""`pathagent review`: decide a draft that waits for a human."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.options import Json
from pathagent.commands.progress import shown_progress
from pathagent.commands.report import REPORT_PAGE
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Review


def review(
    folder: Annotated[Path, typer.Argument(help="Output folder of a draft made with --review.")],
    approve: Annotated[bool, typer.Option("--approve", help="Accept the draft as it stands.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Refuse the draft.")] = False,
    edit: Annotated[
        list[str] | None,
        typer.Option("--edit", help="CLAIM=TEXT, for example C3='No necrosis seen.'; C3= strikes it."),
    ] = None,
    comment: Annotated[str, typer.Option("--comment", help="A word on the decision.")] = "",
    reviewer: Annotated[str, typer.Option("--reviewer", help="An id, not a name.")] = "anonymous",
    json: Json = False,
) -> None:
    """Approve, edit or reject a draft; the folder is replaced by the reviewed report."""
    from pathagent.api import resume_review

    decided = decision(approve=approve, reject=reject, edit=edit or [], comment=comment, reviewer=reviewer)
    if not folder.is_dir():
        raise UserError(f"No such folder: {folder}. Give the output folder of: pathagent report … --review")
    with shown_progress() as progress:
        reviewed = resume_review(folder, decided, progress=progress)
    page = folder / REPORT_PAGE
    if json:
        document = {"out": str(folder), "page": str(page), "report": reviewed.model_dump(mode="json")}
        emit_json(document)
    else:
        emit(f"The report is {reviewed.status}.")
        emit(str(page))


def decision(*, approve: bool, reject: bool, edit: list[str], comment: str, reviewer: str) -> Review:
    """The one decision that was typed. UserError where there is none, or more than one."""
    if sum((approve, reject, bool(edit))) != 1:
        raise UserError("Give one decision: --approve, --reject, or --edit CLAIM=TEXT (as often as needed).")
    edits = dict(_edit(text) for text in edit)
    if approve:
        return Review(decision="approve", comment=comment, reviewer=reviewer)
    return Review(decision="edit" if edits else "reject", edits=edits, comment=comment, reviewer=reviewer)


def how_to_decide(folder: Path) -> str:
    """The line that a waiting draft ends with."""
    place = shlex.quote(str(folder))
    return (
        f"The draft waits for review. Read {folder / REPORT_PAGE}, then type: "
        f"pathagent review {place} --approve (or --reject, or --edit C1='new text')"
    )


def _edit(text: str) -> tuple[str, str]:
    claim, equals, words = text.partition("=")
    if not equals or not claim.strip():
        raise UserError(f"--edit {text!r} is not CLAIM=TEXT. Type for example: --edit C3='No necrosis seen.'")
    return claim.strip(), words.strip()
