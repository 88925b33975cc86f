"""One run of the agents on a case: begun or resumed, its events appended, its report kept."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from pathagent import followups
from pathagent.budget import Budget
from pathagent.drafting import Outcome, draft
from pathagent.events import Event, EventLog
from pathagent.reading_room import comparing, versions
from pathagent.reading_room.conversation import answer_view
from pathagent.reading_room.overlays import write_heat
from pathagent.reading_room.tables import CaseRow, RunRow, User
from pathagent.runs import CASE_NAME, RunRecord, Work
from pathagent.state import Case, CompareWith, SlideInput
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report, Review
from pathagent_tools.slides.source import find_source

if TYPE_CHECKING:
    from pathagent.reading_room.room import Room
    from pathagent.resources import Resources

_BELIEF: Final = ("differential", "sufficiency", "outcome", "outcome_text")
REGION_QUESTION: Final = "What is shown in this region?"
_DRAFTS: Final = ("draft", "look")
_CASES_WARM: Final = 2
"""Cases whose slides and what was worked out of them stay in memory between runs."""

Stamp = list[tuple[str, int, int]]


class Stopped(Exception):
    """A run was asked to end, or the server is closing."""


class Executor:
    """Carries out runs, one at a time."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._warm: OrderedDict[str, tuple[Resources, list[Stamp]]] = OrderedDict()

    def execute(self, run_id: str, must_stop: Callable[[], bool]) -> None:
        """Run, or resume, until its end or its review; then keep what it found.

        Raises Stopped, and whatever stands against the run as PathAgentError.
        """
        run, row, earlier = self._begin(run_id)
        work = self._room.work_of(run)
        case = self._case(run, row, earlier).model_copy(update={"compare": self._compare(run, work)})
        resources = self._resources(case, row.id)
        decided = Review.model_validate(run.decision) if run.decision else None
        out = self._room.case_folder(row.id) / "reports" / (f"{run.id}-decided" if decided else run.id)
        finished = _decided_before(out) if decided and not (work.folder / CASE_NAME).is_file() else None
        if finished is not None:
            work.discard()
        else:
            record = RunRecord(case=resources.case, profile=run.profile, out=str(out))
            outcome, begin = Outcome(), _beginning(run, earlier)
            events = draft(resources, record, outcome, force=True, decided=decided, work=work, begin=begin)
            with closing(events):  # lets go of the run's folder, whatever ends it
                for event in events:
                    self._keep(run, event)
                    if must_stop() and event.kind != "run_finished":
                        raise Stopped
            finished = outcome.report
        assert finished is not None
        resources.events = EventLog()  # the run's own is gone with its folder
        write_heat(resources, self._room.case_folder(row.id))
        self._end(run.id, finished, decided, {e.id for e in earlier.evidence} if earlier else set())

    def close(self) -> None:
        """Close the slides that are kept warm."""
        while self._warm:
            self._warm.popitem()[1][0].close()

    def _begin(self, run_id: str) -> tuple[RunRow, CaseRow, Report | None]:
        """The run, marked as running; its case; and the report whose evidence it starts from."""
        with self._room.writing() as session:
            run = session.get_one(RunRow, run_id)
            row = session.get_one(CaseRow, run.case_id)
            newest = self._newest_ledger(session, run)
            if run.state != "deciding" and (run.started is None or run.begun_from != newest):
                # What it had seen has ids that another run has given away meanwhile.
                self._room.work_of(run).discard()
                run.begun_from, run.started = newest, time.time()
            if run.state != "deciding":
                self._room.set_state(session, run, "running")
            earlier = session.get(RunRow, run.begun_from) if run.begun_from else None
            report = Report.model_validate(earlier.report) if earlier else None
            if earlier and report and earlier.kind == "region":
                report = report.model_copy(update=self._belief_of_the_case(session, earlier))
        return run, row, report

    def _belief_of_the_case(self, session: Session, region: RunRow) -> dict[str, Any]:
        """What was believed before a question about a region, which shows nothing of the case as a whole."""
        of_case = select(RunRow).where(RunRow.case_id == region.case_id, RunRow.ended.is_not(None))
        found = session.scalars(of_case.where(RunRow.kind != "region").order_by(RunRow.ended.desc())).first()
        if found is None:
            return {"differential": (), "sufficiency": None}
        report = Report.model_validate(found.report)
        return {name: getattr(report, name) for name in _BELIEF}

    def _newest_ledger(self, session: Session, run: RunRow) -> str | None:
        """The run of the case, other than this, that ended last with a report: its evidence is the ledger."""
        ended = select(RunRow.id).where(RunRow.case_id == run.case_id, RunRow.ended.is_not(None))
        return session.scalars(ended.where(RunRow.id != run.id).order_by(RunRow.ended.desc())).first()

    def _case(self, run: RunRow, row: CaseRow, earlier: Report | None) -> Case:
        drafts = run.kind in _DRAFTS
        more = {"look": followups.CLAIM_LOOKS, "region": followups.REGION_LOOKS}
        looks = Budget().looks if run.kind == "draft" else followups.QUESTION_LOOKS
        budget = followups.budget_for(earlier, more.get(run.kind, looks)) if earlier else Budget()
        region = Region.model_validate(run.region) if run.kind == "region" else None
        if region is not None:
            budget = followups.budget_for(earlier, self._fields(region, row))
        return Case(
            slides=tuple(
                SlideInput(id=f"S{i + 1}", path=self._room.library.find(slide_id).path)
                for i, slide_id in enumerate(row.slides)
            ),
            task="report" if drafts else "ask",
            question=None if drafts else (run.question or REGION_QUESTION),
            notes=row.notes,
            specimen=row.specimen,
            mpp=row.mpp,
            region=region,
            budget=budget,
            seed=self._room.settings.seed,
            review="required" if drafts else "none",
            illustrate=drafts and row.illustrate,
        )

    def _compare(self, run: RunRow, work: Work) -> CompareWith:
        """What a draft is compared with. One that is decided keeps what it was drafted beside; one that was
        cut off begins anew where the texts or the index have changed meanwhile. UserError: not readable."""
        if run.kind not in _DRAFTS:
            return CompareWith()
        begun = comparing.begun_with(work.folder)
        if run.decision and begun is not None:
            return begun
        now = comparing.given_now(self._room.settings)
        if begun is not None and begun != now:
            work.discard()
        return now

    def _fields(self, region: Region, row: CaseRow) -> int:
        """How many looks a drawn region will take, so that nothing else is looked at."""
        vlm, _ = self._room.models.load()
        slide = self._room.library.open(row.slides[int(region.slide[1:]) - 1], row.mpp)
        return len(followups.fields_of(region, slide, tile_px=vlm.tile_px, tile_mpp=vlm.tile_mpp))

    def _resources(self, case: Case, case_id: str) -> Resources:
        """What the run needs; slides of a case at work stay open with what was worked out of them."""
        stamps = [_stamp(s.path) for s in case.slides]
        kept, before = self._warm.pop(case_id, (None, []))
        same = kept is not None and kept.given_vlm is self._room.models.load()[0]
        if kept is not None and same and stamps == before and kept.case.mpp == case.mpp:
            kept.case = case.model_copy(update={"slides": kept.case.slides})
        else:
            if kept is not None:
                kept.close()
            kept = self._room.models.resources(case)
            digests = {s.id: kept.slide(s.id).slide.digest for s in case.slides}
            slides = tuple(s.model_copy(update={"digest": digests[s.id]}) for s in case.slides)
            kept.case = case.model_copy(update={"slides": slides})
        self._warm[case_id] = kept, stamps
        while len(self._warm) > _CASES_WARM:
            self._warm.popitem(last=False)[1][0].close()
        return kept

    def _keep(self, run: RunRow, event: Event) -> None:
        with self._room.writing() as session:
            body = event.model_dump(mode="json", exclude={"kind", "out"})
            self._room.add_event(session, run.case_id, run.id, event.kind, body)

    def _end(self, run_id: str, report: Report, decided: Review | None, known: set[str]) -> None:
        """Keep the report; a draft waits for its human, and older drafts wait no longer."""
        with self._room.writing() as session:
            run = session.get_one(RunRow, run_id)
            if decided is not None:
                if report.status == "draft":
                    raise UserError(
                        "The models or prompts have changed since this draft was made, so it cannot be "
                        "decided any more. Draft the report again."
                    )
                user = session.scalars(select(User).where(User.name == decided.reviewer)).one()
                version = versions.latest(session, run.case_id)
                accepted = version.accepted if version else []
                versions.add(
                    self._room, session, run, report, author_id=user.id, edits=decided.edits,
                    accepted=accepted, comment=decided.comment,
                )  # fmt: skip
                self._room.set_state(session, run, "done")
                return
            run.report, run.ended = report.model_dump(mode="json"), time.time()
            run.answer = answer_view(report, run, known)
            if run.kind not in _DRAFTS:
                self._room.set_state(session, run, "done")
                return
            waiting = select(RunRow).where(RunRow.case_id == run.case_id, RunRow.state == "waiting")
            for old in session.scalars(waiting):
                self._room.set_state(session, old, "superseded", "a newer draft waits for review")
            versions.add(self._room, session, run, report, author_id=None, edits={}, accepted=[])
            self._room.set_state(session, run, "waiting")


def _beginning(run: RunRow, earlier: Report | None) -> followups.Begin | None:
    if run.kind == "region":
        return followups.look_at(Region.model_validate(run.region), earlier)
    if earlier is None:
        return None
    if run.kind == "look":
        return followups.another_look(run.about or "", earlier)
    return followups.question(earlier) if run.kind == "ask" else followups.draft_again(earlier)


def _stamp(path: str) -> Stamp:
    """What tells that a slide's files were not touched: path, size and time of change of each."""
    files = find_source(Path(path)).files
    return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _decided_before(out: Path) -> Report | None:
    """The decided report, where the server was killed after it was written and before it was kept."""
    path = out / "report.json"
    if not path.is_file():
        return None
    found = Report.model_validate(json.loads(path.read_text(encoding="utf-8")))
    return found if found.status != "draft" else None
