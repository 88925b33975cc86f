"""Versions of a case's report: each is kept as it was written, with who wrote it and what it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pathagent.agents.review import edited
from pathagent.reading_room import audit
from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import RunRow, VersionRow
from pathagent_tools.core.records import Report, Review


def latest(session: Session, case_id: str) -> VersionRow | None:
    """The newest version of a case's report."""
    query = select(VersionRow).where(VersionRow.case_id == case_id).order_by(VersionRow.number.desc())
    return session.scalars(query.limit(1)).first()


def listed(session: Session, case_id: str) -> list[VersionRow]:
    """All versions of a case, oldest first."""
    query = select(VersionRow).where(VersionRow.case_id == case_id).order_by(VersionRow.number)
    return list(session.scalars(query))


def add(
    room: Room,
    session: Session,
    run: RunRow,
    report: Report,
    *,
    author_id: str | None,
    edits: Mapping[str, str],
    accepted: Sequence[str],
    comment: str = "",
) -> VersionRow:
    """Append a version of the run's report; its link of the audit chain and its event come with it."""
    before = latest(session, run.case_id)
    same_run = before if before is not None and before.run_id == run.id else None
    number = session.scalar(select(func.max(VersionRow.number)).where(VersionRow.case_id == run.case_id)) or 0
    version = VersionRow(
        case_id=run.case_id,
        run_id=run.id,
        number=number + 1,
        status=report.status,
        author_id=author_id,
        report=report.model_dump(mode="json"),
        edits=dict(edits),
        accepted=sorted(accepted),
        diff=diff(Report.model_validate(same_run.report) if same_run else None, report),
        comment=comment,
    )
    session.add(version)
    session.flush()
    audit.tell_written(session, version)
    body = {"number": version.number, "status": version.status, "by_machine": author_id is None}
    room.add_event(session, run.case_id, run.id, "version", body)
    return version


def diff(before: Report | None, after: Report) -> list[dict[str, Any]]:
    """What changed from one version to the next: claims with another text, struck, or new."""
    if before is None:
        return []
    old, new = {c.id: c.text for c in before.claims}, {c.id: c.text for c in after.claims}
    ids = [*old, *(i for i in new if i not in old)]
    return [{"claim": i, "before": old.get(i), "after": new.get(i)} for i in ids if old.get(i) != new.get(i)]


def with_edits(drafted: Report, edits: Mapping[str, str], reviewer: str) -> Report:
    """The machine's draft with a human's words, as the graph will apply them when it is decided."""
    if not edits:
        return drafted
    review = Review(decision="edit", edits=dict(edits), reviewer=reviewer)
    return drafted.model_copy(update={"claims": tuple(edited(list(drafted.claims), review))})


def carried(session: Session, run: RunRow, drafted: Report) -> dict[str, str]:
    """Edits of an earlier draft of the case whose sentence the machine has written again, by claim id."""
    query = (
        select(VersionRow, RunRow)
        .join(RunRow, VersionRow.run_id == RunRow.id)
        .where(VersionRow.case_id == run.case_id, VersionRow.run_id != run.id)
        .order_by(VersionRow.number.desc())
    )
    found = session.execute(query).first()
    if found is None or not found[1].report:
        return {}
    version, earlier = found
    said = {c.id: c.text for c in Report.model_validate(earlier.report).claims}
    words = {said[i]: text for i, text in version.edits.items() if i in said}
    return {c.id: words[c.text] for c in drafted.claims if c.text in words}
