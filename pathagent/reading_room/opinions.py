"""Reader mode: a reader commits an opinion before anything that the machine thinks is shown to them.

Until then the API, not only the page, withholds drafts, answers, looks and the heat map of the case. What
was committed does not change any more; it stands in the audit chain before the reader saw the draft.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from pathagent.reading_room import audit
from pathagent.reading_room.review import ConflictError
from pathagent.reading_room.tables import CaseRow, Opinion, User, VersionRow
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes
from pathagent_tools.core.records import Report

Agreement = Literal["same", "partly", "different"]
MAX_DIAGNOSIS: Final = 400
OPEN_KINDS: Final = ("run_state", "version")
"""Events that say how far the machine is, and nothing of what it thinks."""
COLUMNS: Final = (
    "case", "title", "reader", "started", "committed", "seconds", "diagnosis", "sure_percent", "machine",
    "machine_percent", "agreement", "compared", "report",
)  # fmt: skip


class WithheldError(UserError):
    """What the machine thinks is asked for before the reader has said what they think."""

    kind = "opinion first"


def opinion_of(session: Session, row: CaseRow, user: User) -> Opinion | None:
    """The user's opinion of the case: begun, or committed."""
    return session.scalars(
        select(Opinion).where(Opinion.case_id == row.id, Opinion.user_id == user.id)
    ).first()


def withheld(session: Session, row: CaseRow, user: User) -> bool:
    """Whether the machine's side of the case must not be shown to that user yet."""
    if not row.reader_mode:
        return False
    found = opinion_of(session, row, user)
    return found is None or found.committed is None


def begin(session: Session, row: CaseRow, user: User) -> Opinion:
    """The reader sees the case: their time starts, once. UserError where the case has no reader mode."""
    if not row.reader_mode:
        raise UserError(
            "This case is not read in reader mode. Open one with reader_mode to commit an opinion."
        )
    found = opinion_of(session, row, user)
    if found is None:
        found = Opinion(case_id=row.id, user_id=user.id)
        session.add(found)
        session.flush()
    return found


def commit(session: Session, row: CaseRow, user: User, diagnosis: str, sure: int) -> Opinion:
    """The reader's opinion stands from now on. sure: percent. ConflictError where it stands already,
    UserError where it has no words or is too long."""
    words = " ".join(diagnosis.split())
    if not any(c.isalnum() for c in words):
        raise UserError("The opinion has no words. Type the diagnosis as you would write it.")
    if len(words) > MAX_DIAGNOSIS:
        raise UserError(f"The opinion is longer than {MAX_DIAGNOSIS} characters. Give the diagnosis alone.")
    found = begin(session, row, user)
    if found.committed is not None:
        raise ConflictError("Your opinion of this case stands already. It is not changed afterwards.")
    found.diagnosis, found.sure, found.committed = words, sure, time.time()
    digest = sha256_bytes(canonical_json([words, sure]).encode())
    audit.append(session, user.id, "opinion.committed", row.id, {"opinion": found.id, "sha256": digest})
    return found


def compare(session: Session, row: CaseRow, user: User, agreement: Agreement) -> Opinion:
    """What the reader says of the draft once they have seen it, once. ConflictError where that was said."""
    found = begin(session, row, user)
    if found.committed is None:
        raise WithheldError("Commit your opinion first: the machine's draft is shown after that.")
    if found.agreement is not None:
        raise ConflictError("You have compared your opinion with the draft already.")
    found.agreement, found.compared = agreement, time.time()
    audit.append(session, user.id, "opinion.compared", row.id, {"opinion": found.id, "said": agreement})
    return found


def table(session: Session, rows: Iterable[CaseRow]) -> list[dict[str, Any]]:
    """One record (COLUMNS) for each committed opinion of those cases, beside the machine's first draft."""
    found = []
    for row in rows:
        query = select(Opinion, User.name).join(User, User.id == Opinion.user_id)
        query = query.where(Opinion.case_id == row.id, Opinion.committed.is_not(None))
        machine, percent, status = _machine(session, row)
        for opinion, name in session.execute(query.order_by(Opinion.committed)).all():
            record = {
                "case": row.id,
                "title": row.title,
                "reader": name,
                "started": _when(opinion.started),
                "committed": _when(opinion.committed),
                "seconds": round((opinion.committed or 0.0) - opinion.started, 1),
                "diagnosis": opinion.diagnosis,
                "sure_percent": opinion.sure,
                "machine": machine,
                "machine_percent": percent,
                "agreement": opinion.agreement,
                "compared": _when(opinion.compared),
                "report": status,
            }
            found.append(record)
    return found


def _machine(session: Session, row: CaseRow) -> tuple[str, int | None, str]:
    """(leading diagnosis of the machine's first draft, or what it ended in; its percent; how the newest
    version stands)."""
    query = select(VersionRow).where(VersionRow.case_id == row.id).order_by(VersionRow.number)
    versions = list(session.scalars(query))
    if not versions:
        return "", None, ""
    report = Report.model_validate(versions[0].report)
    if report.outcome == "report" and report.differential:
        leading = report.differential[0]
        return leading.text, round(100 * leading.probability), versions[-1].status
    return report.outcome, None, versions[-1].status


def _when(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def as_csv(records: Iterable[dict[str, Any]]) -> str:
    """The table as CSV with a head. A text that a spreadsheet would take for a formula gets a quote before
    it (owasp.org/www-community/attacks/CSV_Injection)."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for record in records:
        writer.writerow({k: _cell(v) for k, v in record.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
