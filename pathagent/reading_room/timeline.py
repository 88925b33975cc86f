"""Earlier and later cases of the same patient, as far as the reader may see them.

What ties them is a key that whoever opens the cases makes up or takes from their own list. The room keeps
its digest under a secret of the data folder, and no id, address or event ever holds the key.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from pathagent.reading_room import audit, cases, opinions, versions
from pathagent.reading_room.keys import kept_key
from pathagent.reading_room.review import ConflictError
from pathagent.reading_room.tables import CaseRow, SlideFile, User
from pathagent.report.words import HEADLINES
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Report

KEY_NAME: Final = "patient.key"


def patient_digest(data: Path, key: str | None) -> str | None:
    """What is kept of a patient's key: case and blanks do not count. None for none."""
    words = " ".join((key or "").split()).casefold()
    return hmac.digest(kept_key(data / KEY_NAME), words.encode(), hashlib.sha256).hex() if words else None


def add_key(session: Session, row: CaseRow, user: User, digest: str | None) -> None:
    """Tie a case to its patient after it was opened, once; the same key again changes nothing.

    digest: see `patient_digest`. A key is never replaced: nothing may move a case to another patient, and a
    case that was tied to the wrong one is opened anew. ConflictError then; UserError where the key is empty
    or the case is not the user's.
    """
    if row.owner_id != user.id:
        raise UserError("Only the owner of a case can say whose it is.")
    if digest is None:
        raise UserError("The key is empty. Type the one that the patient's other cases have.")
    if row.patient is not None and row.patient != digest:
        raise ConflictError(
            "This case has another patient's key already, and a key is not replaced. "
            "If it is the wrong one, open a new case with the right key."
        )
    if row.patient is None:
        row.patient = digest
        audit.append(session, user.id, "case.patient", row.id, {"patient": digest})


def timeline(session: Session, row: CaseRow, user: User) -> list[dict[str, Any]]:
    """The patient's cases that the user may see, oldest first, this one among them (`here`); nothing where
    the case has no patient's key."""
    if row.patient is None:
        return []
    query = select(CaseRow).where(CaseRow.patient == row.patient).order_by(CaseRow.created)
    seen = [c for c in session.scalars(query) if cases.find_case(session, user, c.id) is not None]
    return [
        {
            "id": c.id,
            "title": c.title,
            "created": c.created,
            "state": cases.state_of(session, c.id),
            "here": c.id == row.id,
            "slides": [_slide(session, slide_id) for slide_id in c.slides],
            "report": None if opinions.withheld(session, c, user) else _report(session, c),
        }
        for c in seen
    ]


def _slide(session: Session, slide_id: str) -> dict[str, str]:
    found = session.get(SlideFile, slide_id)
    return {"id": slide_id, "name": found.name if found else ""}


def _report(session: Session, row: CaseRow) -> dict[str, Any] | None:
    """The newest version of a case's report in a few words; None where there is none."""
    newest = versions.latest(session, row.id)
    if newest is None:
        return None
    report = Report.model_validate(newest.report)
    said = [c.text for c in report.claims if c.section == "diagnosis"] if report.outcome == "report" else []
    return {
        "number": newest.number,
        "status": newest.status,
        "at": newest.at,
        "text": said[0] if said else HEADLINES[report.outcome],
    }
