"""The audit chain: who did what, each link holding the digest of the one before it.

A row that is changed, removed or slipped in breaks the chain at its place. What a chain alone cannot
show is that its end was cut off: the newest digest is therefore kept in a file beside the database, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from pathagent.reading_room.tables import AuditRow, VersionRow
from pathagent_tools.core.files import canonical_json, sha256_bytes, write_text_atomic

MACHINE: Final = "machine"
FIRST: Final = "0" * 64
HEAD_NAME: Final = "audit.head"
APPROVED: Final = "report.approved"
REJECTED: Final = "report.rejected"
WRITTEN: Final = "report.written"
_LOCK: Final = 7_225_101


def append(session: Session, who: str, action: str, subject: str, detail: Mapping[str, Any]) -> AuditRow:
    """Add a link within the transaction of what it tells of. who: a user's id, or MACHINE."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    session.flush()
    last = session.scalars(select(AuditRow).order_by(AuditRow.seq.desc()).limit(1)).first()
    row = AuditRow(
        seq=last.seq + 1 if last else 1,
        at=round(time.time(), 3),
        who=who,
        action=action,
        subject=subject,
        detail=canonical_json(detail),
        previous=last.digest if last else FIRST,
    )
    row.digest = _digest(row)
    session.info["audited"] = True
    session.add(row)
    session.flush()
    return row


def keep_head(session: Session, data: Path) -> None:
    """Write number and digest of the newest link beside the database."""
    last = session.scalars(select(AuditRow).order_by(AuditRow.seq.desc()).limit(1)).first()
    if last is not None:
        write_text_atomic(data / HEAD_NAME, f"{last.seq} {last.digest}\n")


def report_digest(report: Mapping[str, Any]) -> str:
    """sha256 of a version's report, as the chain names it."""
    return sha256_bytes(canonical_json(report).encode())


def faults(session: Session, data: Path | None = None) -> Iterator[str]:
    """Every place at which the chain, its end, or a report that it tells of is not as it was written."""
    previous, number, known = FIRST, 0, dict[int, str]()
    for row in session.scalars(select(AuditRow).order_by(AuditRow.seq)):
        number += 1
        if row.seq != number:
            yield f"link {number} is missing: the next one is {row.seq}"
            number = row.seq
        if row.previous != previous:
            yield f"link {row.seq} does not follow the link before it"
        if row.digest != _digest(row):
            yield f"link {row.seq} ({row.action}) was changed after it was written"
        previous, known[row.seq] = row.digest, row.digest
    if data is not None and (data / HEAD_NAME).is_file():
        seq, digest = (data / HEAD_NAME).read_text(encoding="utf-8").split()
        if known.get(int(seq)) != digest:
            yield f"link {seq}, the newest that {data / HEAD_NAME} knows, is missing or another"
    yield from _report_faults(session)


def _report_faults(session: Session) -> Iterator[str]:
    """Report versions that the chain does not know as they are, and decisions that nobody took."""
    rows = session.scalars(select(AuditRow)).all()
    written = {(r.subject, r.detail) for r in rows if r.action == WRITTEN}
    decided = {(r.action, r.subject) for r in rows if r.action in (APPROVED, REJECTED) and r.who != MACHINE}
    for version in session.scalars(select(VersionRow).order_by(VersionRow.case_id, VersionRow.number)):
        name = f"version {version.number} of case {version.case_id}"
        if (version.id, canonical_json(_told(version))) not in written:
            yield f"{name} is not as the chain knows it"
        action = {"reviewed": APPROVED, "rejected": REJECTED}.get(version.status)
        if action and (action, version.run_id) not in decided:
            yield f"{name} is {version.status}, and no human's decision stands in the chain"


def tell_written(session: Session, version: VersionRow) -> None:
    """The link of a new report version."""
    append(session, version.author_id or MACHINE, WRITTEN, version.id, _told(version))


def _told(version: VersionRow) -> dict[str, Any]:
    return {
        "case": version.case_id,
        "number": version.number,
        "status": version.status,
        "report": report_digest(version.report),
    }


def _digest(row: AuditRow) -> str:
    content = [row.seq, row.at, row.who, row.action, row.subject, row.detail, row.previous]
    return sha256_bytes(canonical_json(content).encode())


def length(session: Session) -> tuple[int, str]:
    """(number of links, digest of the newest)."""
    last = session.scalars(select(AuditRow).order_by(AuditRow.seq.desc()).limit(1)).first()
    return (last.seq, last.digest) if last else (0, FIRST)
