"""A human's review of a draft: edits kept as versions, and the decision that makes a report final."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from sqlalchemy.orm import Session

from pathagent.agents.review import check_review
from pathagent.reading_room import audit, versions
from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import CaseRow, RunRow, User, VersionRow
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Report, Review

MAX_TEXT: Final = 4_000


class ConflictError(UserError):
    """Somebody else has changed the report since this reader has read it."""


def save_edits(
    room: Room,
    session: Session,
    row: CaseRow,
    user: User,
    *,
    base: int,
    edits: Mapping[str, str],
    accepted: Sequence[str],
    comment: str = "",
) -> VersionRow:
    """A new version with a human's words. edits: claim id → new text, all that differ from the machine's
    draft; '' strikes. base: number of the version that the reader has read.

    Raises ConflictError where there is a newer version, UserError where no draft waits or an edit names
    an unknown claim.
    """
    newest, run = _waiting(session, row, base)
    drafted = Report.model_validate(run.report)
    said = {c.id: c.text for c in drafted.claims}
    wanted = {i: " ".join(text.split()) for i, text in edits.items()}
    if too_long := [i for i, text in wanted.items() if len(text) > MAX_TEXT]:
        raise UserError(f"The text of {', '.join(too_long)} is longer than {MAX_TEXT:,} characters. Cut it.")
    kept = {i: text for i, text in wanted.items() if said.get(i) != text}
    check_review(list(drafted.claims), Review(decision="edit", edits=kept))
    agreed = sorted(set(accepted) & set(said))
    if kept == newest.edits and agreed == newest.accepted and not comment:
        return newest
    report = versions.with_edits(drafted, kept, user.name)
    return versions.add(
        room, session, run, report, author_id=user.id, edits=kept, accepted=agreed, comment=comment
    )


def decide(
    room: Room,
    session: Session,
    row: CaseRow,
    user: User,
    *,
    base: int,
    decision: Literal["approve", "reject"],
    comment: str = "",
) -> RunRow:
    """Put a human's decision into the audit chain, and the run into the line to carry it out.

    Raises ConflictError and UserError as `save_edits`.
    """
    newest, run = _waiting(session, row, base)
    edits = dict(newest.edits) if decision == "approve" else {}
    word: Literal["approve", "edit", "reject"] = "edit" if edits else decision
    review = Review(decision=word, edits=edits, reviewer=user.name, comment=comment)
    run.decision = review.model_dump(mode="json")
    action = audit.APPROVED if decision == "approve" else audit.REJECTED
    detail = {"case": row.id, "version": newest.number, "report": audit.report_digest(newest.report)}
    audit.append(session, user.id, action, run.id, detail)
    room.set_state(session, run, "deciding")
    return run


def _waiting(session: Session, row: CaseRow, base: int) -> tuple[VersionRow, RunRow]:
    """The newest version, which must be `base`, and its run, which must wait for review."""
    newest = versions.latest(session, row.id)
    if newest is None:
        raise UserError("This case has no draft yet. Ask for one with: Draft the report.")
    run = session.get_one(RunRow, newest.run_id)
    if newest.number != base:
        who = session.get(User, newest.author_id) if newest.author_id else None
        raise ConflictError(
            f"Version {newest.number} was written meanwhile by {who.name if who else 'the machine'}. "
            f"Load it, then make your changes again."
        )
    if run.state != "waiting":
        raise ConflictError(f"This draft does not wait for review any more: it is {run.state}.")
    return newest, run
