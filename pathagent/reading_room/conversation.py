"""A case as its page and its API show it: what was asked, what was found, what waits."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pathagent.reading_room import cases, opinions, versions
from pathagent.reading_room.comparing import compare_view
from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import CaseRow, EventRow, RunRow, User, VersionRow
from pathagent.report.words import VERDICTS, quantity, seen
from pathagent_tools.core.errors import SlideError
from pathagent_tools.core.records import Evidence, Report


def case_view(room: Room, session: Session, row: CaseRow, user: User) -> dict[str, Any]:
    """Everything that a page needs to be whole after a reload; `newest_event` is where to follow on.

    In reader mode nothing that the machine thinks is in it until the user has committed an opinion.
    """
    hidden = opinions.withheld(session, row, user)
    newest = session.scalar(select(func.max(EventRow.id)).where(EventRow.case_id == row.id)) or 0
    runs = cases.runs_of(session, row.id)
    return {
        "id": row.id,
        "title": row.title,
        "state": cases.state_of(session, row.id),
        "notes": row.notes,
        "specimen": row.specimen,
        "owner": session.get_one(User, row.owner_id).name,
        "readers": cases.readers_of(session, row),
        "created": row.created,
        "slides": [_slide(room, row, i, slide_id) for i, slide_id in enumerate(row.slides)],
        "same_patient": row.patient is not None,
        "illustrate": row.illustrate,
        "opinion": opinion_view(session, row, user) if row.reader_mode else None,
        "runs": [run_view(session, run, hidden=hidden) for run in runs],
        "evidence": [] if hidden else ledger(runs),
        "review": None if hidden else review_view(session, row),
        "newest_event": newest,
    }


def _slide(room: Room, row: CaseRow, number: int, slide_id: str) -> dict[str, Any]:
    """A slide of a case; `problem` where it cannot be shown."""
    view = {"id": slide_id, "case_id": f"S{number + 1}", "name": "", "problem": ""}
    try:
        view["name"] = room.library.find(slide_id).name
        slide = room.library.open(slide_id, row.mpp)
    except SlideError as error:
        return view | {"problem": str(error)}
    return view | {
        "width": slide.width,
        "height": slide.height,
        "mpp": slide.mpp,
        "mpp_assumed": slide.resolution_assumed,
    }


def opinion_view(session: Session, row: CaseRow, user: User) -> dict[str, Any]:
    """How far the user is in reader mode; `withheld` while the machine's side is not shown."""
    found = opinions.opinion_of(session, row, user)
    return {
        "withheld": opinions.withheld(session, row, user),
        "started": found.started if found else None,
        "committed": found.committed if found else None,
        "diagnosis": found.diagnosis if found else "",
        "sure": found.sure if found else None,
        "agreement": found.agreement if found else None,
    }


def run_view(session: Session, run: RunRow, *, hidden: bool = False) -> dict[str, Any]:
    """One run: what was asked, how it stands, and, where that is not hidden, what the machine said."""
    who = session.get(User, run.asked_by)
    return {
        "id": run.id,
        "case": run.case_id,
        "number": run.number,
        "kind": run.kind,
        "state": run.state,
        "reason": run.reason,
        "question": run.question,
        "region": run.region,
        "about": None if hidden else run.about,
        "asked_by": who.name if who else "",
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "answer": None if hidden else run.answer,
    }


def answer_view(report: Report, run: RunRow, known: set[str]) -> dict[str, Any]:
    """What the conversation says of a finished run. known: ids of the ledger that it started from."""
    described_only = run.kind == "region" and not run.question
    answers = [c for c in report.claims if c.section == "answer"]
    claim = answers[0] if answers and not described_only else None
    new = [e for e in report.evidence if e.id not in known]
    asked = new if run.kind == "region" else []
    return {
        "outcome": report.outcome,
        "text": report.answer if claim else "" if described_only and new else report.outcome_text,
        "verdict": VERDICTS[claim.verdict] if claim else "",
        "written_by": claim.written_by if claim else "",
        "reason": claim.reason if claim else None,
        "evidence": list(claim.evidence) if claim else [],
        "seen": [{"id": e.id, "text": e.sentence or seen(e)} for e in asked],
        "differential": [{"text": h.text, "probability": h.probability} for h in report.differential[:3]],
        "named": [look_view(e) for e in report.evidence if e.id in _named(run)],
        "looks": len(report.evidence),
        "new_looks": len(new),
    }


def _named(run: RunRow) -> set[str]:
    """Ids of looks that a question speaks of (`compare E2 and E5`): they are laid side by side."""
    return set(re.findall(r"\bE[1-9][0-9]*\b", run.question or ""))


def ledger(runs: list[RunRow]) -> list[dict[str, Any]]:
    """Every look of the case, by id: each run goes on from the ledger of the one that ended before it."""
    ended = [r for r in runs if r.ended and r.answer is not None]
    if not ended:
        return []
    newest = max(ended, key=lambda r: r.ended or 0.0)
    looks = Report.model_validate(newest.report).evidence
    return [look_view(look) for look in sorted(looks, key=lambda e: int(e.id[1:]))]


def look_view(look: Evidence) -> dict[str, Any]:
    """One look, as the viewer and its list show it."""
    return {
        "id": look.id,
        "region": look.region.model_dump(mode="json"),
        "place": look.place,
        "title": seen(look),
        "sentence": look.sentence,
        "confidence": look.confidence,
        "reason": look.reason,
        "measurements": [
            {**m.model_dump(mode="json"), "text": quantity(m.value, m.unit)} for m in look.measurements
        ],
        "findings": look.findings.model_dump(mode="json") if look.findings else None,
    }


def review_view(session: Session, row: CaseRow) -> dict[str, Any] | None:
    """The newest version of the report with what the machine said before; None where there is no draft."""
    newest = versions.latest(session, row.id)
    if newest is None:
        return None
    run = session.get_one(RunRow, newest.run_id)
    drafted = Report.model_validate(run.report)
    return {
        "version": version_view(session, newest),
        "state": run.state,
        "reason": run.reason,
        "report": newest.report,
        "machine": [c.model_dump(mode="json") for c in drafted.claims],
        "edits": newest.edits,
        "accepted": newest.accepted,
        "compare": compare_view(drafted),
        "carried": versions.carried(session, run, drafted) if run.state == "waiting" else {},
        "versions": [version_view(session, v) for v in versions.listed(session, row.id)],
    }


def version_view(session: Session, version: VersionRow) -> dict[str, Any]:
    """Who wrote a version, when, and what it changed."""
    who = session.get(User, version.author_id) if version.author_id else None
    return {
        "number": version.number,
        "status": version.status,
        "by": who.name if who else None,
        "at": version.at,
        "diff": version.diff,
        "comment": version.comment,
    }
