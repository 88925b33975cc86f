"""Cases: opened from slides of the library, listed for their owner, and what runs there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from pathagent.reading_room import audit
from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import CaseReader, CaseRow, RunRow, User, VersionRow
from pathagent.reading_room.users import find_user
from pathagent.rules.synoptic import specimen_of
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region

MOST_SLIDES: Final = 24
MAX_NOTES: Final = 20_000
MAX_QUESTION: Final = 2_000
MAX_TITLE: Final = 200
Kind = Literal["draft", "ask", "region", "look"]
AT_WORK: Final = ("queued", "running", "deciding")


def open_case(
    room: Room,
    user: User,
    slides: Sequence[str],
    *,
    title: str = "",
    notes: str | None = None,
    specimen: str | None = None,
    mpp: float | None = None,
    patient: str | None = None,
    reader_mode: bool = False,
    illustrate: bool = False,
) -> CaseRow:
    """A new case. Every slide is opened once, so that what stands against it is said now.

    patient: the digest of the patient's key. reader_mode, illustrate: see `CaseRow`.

    Raises UserError (SlideError, ResolutionError among them).
    """
    if not slides or len(slides) > MOST_SLIDES or len(set(slides)) != len(slides):
        raise UserError(f"Choose 1 to {MOST_SLIDES} slides, each of them once.")
    if len(notes or "") > MAX_NOTES:
        raise UserError(f"The notes are longer than {MAX_NOTES:,} characters. Give the part that matters.")
    kind = specimen_of(specimen) if specimen else None
    names = []
    for slide_id in slides:
        room.library.open(slide_id, mpp)
        names.append(room.library.find(slide_id).name)
    words = " ".join(title.split())[:MAX_TITLE] or ", ".join(names)[:MAX_TITLE]
    with room.writing() as session:
        row = CaseRow(
            owner_id=user.id, title=words, notes=(notes or "").strip() or None, specimen=kind, mpp=mpp,
            slides=list(slides), patient=patient, reader_mode=reader_mode, illustrate=illustrate,
        )  # fmt: skip
        session.add(row)
        session.flush()
        audit.append(session, user.id, "case.opened", row.id, {"slides": list(slides)})
    return row


def find_case(session: Session, user: User, case_id: str) -> CaseRow | None:
    """The case, where it is that user's or was shared with them."""
    row = session.get(CaseRow, case_id)
    if row is None or row.owner_id == user.id:
        return row
    return row if session.get(CaseReader, (case_id, user.id)) else None


def cases_of(session: Session, user: User) -> list[tuple[CaseRow, str]]:
    """(case, state in words) of a user's cases and of those that were shared with them, newest first."""
    shared = select(CaseReader.case_id).where(CaseReader.user_id == user.id)
    mine = or_(CaseRow.owner_id == user.id, CaseRow.id.in_(shared))
    rows = session.scalars(select(CaseRow).where(mine).order_by(CaseRow.created.desc()))
    return [(row, state_of(session, row.id)) for row in rows]


def readers_of(session: Session, row: CaseRow) -> list[str]:
    """Names of those with whom a case was shared."""
    query = select(User.name).join(CaseReader, CaseReader.user_id == User.id)
    return sorted(session.scalars(query.where(CaseReader.case_id == row.id)))


def share(session: Session, row: CaseRow, user: User, name: str) -> None:
    """Let another user read, ask and review. UserError where the case is not the user's, or nobody has
    that name."""
    other = find_user(session, name)
    if row.owner_id != user.id:
        raise UserError("Only the owner of a case can share it.")
    if other is None or other.id == user.id:
        raise UserError(f"There is no other user {name!r}. Type the name that they sign in with.")
    if session.get(CaseReader, (row.id, other.id)) is None:
        session.add(CaseReader(case_id=row.id, user_id=other.id))
        audit.append(session, user.id, "case.shared", row.id, {"with": other.id})


def state_of(session: Session, case_id: str) -> str:
    """open, asked, at work, waiting for review, reviewed, rejected, paused or failed: what a list says of a
    case. Work on a question that does not succeed says so itself; the case stays what it was."""
    runs = runs_of(session, case_id)
    if any(r.state in AT_WORK for r in runs):
        return "at work"
    newest = session.scalars(
        select(VersionRow).where(VersionRow.case_id == case_id).order_by(VersionRow.number.desc()).limit(1)
    ).first()
    if newest is not None and newest.status == "draft":
        return "waiting for review"
    drafts = [r.state for r in runs if r.kind == "draft"]
    if drafts and drafts[-1] in ("paused", "failed"):
        return drafts[-1]
    if newest is not None:
        return newest.status
    return "asked" if any(r.state == "done" for r in runs) else "open"


def runs_of(session: Session, case_id: str) -> list[RunRow]:
    """The runs of a case in the order in which they were asked for."""
    return list(session.scalars(select(RunRow).where(RunRow.case_id == case_id).order_by(RunRow.number)))


def ask_for(
    room: Room,
    session: Session,
    row: CaseRow,
    user: User,
    kind: Kind,
    *,
    question: str | None = None,
    region: Region | None = None,
    about: str | None = None,
) -> RunRow:
    """Put a run into the line. UserError for an empty or overlong question."""
    words = " ".join(visible(question or "").split())
    if kind == "ask" and not any(c.isalnum() for c in words):
        raise UserError("The question has no words. Ask for example: Is there necrosis?")
    if len(words) > MAX_QUESTION:
        raise UserError(
            f"The question has {len(words):,} characters, more than {MAX_QUESTION:,}. Ask one thing."
        )
    number = session.scalar(select(func.max(RunRow.number)).where(RunRow.case_id == row.id)) or 0
    run = RunRow(
        case_id=row.id,
        number=number + 1,
        kind=kind,
        question=words or None,
        region=region.model_dump(mode="json") if region else None,
        about=about,
        profile=room.models.profile.name,
        asked_by=user.id,
    )
    session.add(run)
    session.flush()
    room.set_state(session, run, "queued")
    detail: dict[str, Any] = {"run": run.id, "kind": kind}
    audit.append(session, user.id, "run.asked", row.id, detail)
    return run


def visible(text: str) -> str:
    """The text without control characters."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
