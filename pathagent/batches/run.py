"""The driver of a batch: what is left to do goes to the engine, what comes back goes to the table."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pathagent.batches.case import BatchCase, CaseResult, Job, Settings
from pathagent.batches.engine import Engine
from pathagent.batches.jobs import JobTable, Row, all_rows, open_table
from pathagent.batches.manifest import shard_of
from pathagent.batches.summary import write_summary
from pathagent.batches.work import NO_MODELS, RESULT_NAME, work
from pathagent.output_folder import check_folder
from pathagent_tools.core.errors import ModelUnavailableError, UserError
from pathagent_tools.core.files import write_text_atomic

PREDICTIONS_NAME = "predictions.jsonl"


class Plan(NamedTuple):
    """What a batch has before it: cases to run, and those settled by an earlier call."""

    jobs: list[Job]
    done: list[CaseResult]
    failed: list[CaseResult]
    changed: list[str]


Planned = Callable[[Plan], None]


def check_out(out: Path, *, force: bool) -> None:
    """UserError where `out` is neither free nor the folder of an earlier batch, or cannot be written."""
    known = any(out.glob("batch*.sqlite")) if out.is_dir() else False
    check_folder(out, force=known or force)
    if known and not os.access(out, os.W_OK):
        raise UserError(f"Cannot write {out}: permission denied. Choose another folder with --out.")


def run_batch(
    cases: Sequence[BatchCase],
    settings: Settings,
    out: Path,
    engine: Engine,
    *,
    threads: int = 1,
    shard: str | None = None,
    retry_failed: bool = False,
    force: bool = False,
    planned: Planned | None = None,
    work: Callable[[Job], CaseResult] = work,
) -> Iterator[CaseResult]:
    """Run what is left of a batch; yields each result as it ends. Summaries are written at the end.

    planned: called once with what is left. shard: `i/n`, the part of the cases to run. force: forget an
    earlier batch in `out`. work: what a worker does. A case that is done is never run again unless its
    slides, its history or the settings changed.
    Raises UserError, and ModelUnavailableError where the model server went away (the same call goes on).
    """
    mine = shard_of(cases, shard) if shard else cases
    if force:
        _forget(out)
    out.mkdir(parents=True, exist_ok=True)
    with open_table(out, shard) as table:
        table.begin(settings)
        alone = [case.model_copy(update={"reference": None}) for case in mine]
        jobs = [Job(case=case, settings=settings, out=str(out), threads=threads) for case in alone]
        plan = _plan(table, jobs, retry_failed=retry_failed)
        if planned is not None:
            planned(plan)
        try:
            yield from _run(table, plan.jobs, engine, work)
        finally:
            write_results(out, cases)


def _forget(out: Path) -> None:
    """Remove what a batch writes, and nothing else that may lie in the folder."""
    for name in ("cases", "failed", "scores"):
        shutil.rmtree(out / name, ignore_errors=True)
    for pattern in ("batch*.sqlite*", "batch*.lock", "summary.*", "index.html", PREDICTIONS_NAME):
        for path in out.glob(pattern):
            path.unlink()


def _plan(table: JobTable, jobs: Sequence[Job], *, retry_failed: bool) -> Plan:
    """Sort the jobs by what an earlier call left; cases that ended unseen are taken as they are."""
    rows = table.rows()
    plan = Plan([], [], [], [])
    for job in jobs:
        row = rows.get(job.case.name)
        if row is not None and row.state in ("running", "waiting"):
            row = _adopted(table, job, row)
        if row is None or row.result is None:
            plan.jobs.append(job)
        elif row.digest != job.digest:
            plan.changed.append(job.case.name)
            plan.jobs.append(job)
        elif row.state == "failed" and retry_failed:
            plan.jobs.append(job)
        else:
            (plan.done if row.state == "done" else plan.failed).append(row.result)
    table.add([(job.case.name, job.digest) for job in plan.jobs])
    return plan


def _adopted(table: JobTable, job: Job, row: Row) -> Row:
    """The row of a case whose worker finished after the driver was killed; else the row as it is."""
    path = job.folder / RESULT_NAME
    if not path.is_file():
        return row
    result = CaseResult.model_validate_json(path.read_text(encoding="utf-8"))
    if result.digest != job.digest:
        return row
    result = result.model_copy(update={"attempts": row.attempts})
    table.finish(result)
    return row._replace(state=result.state, digest=result.digest, result=result)


def _run(
    table: JobTable, jobs: Sequence[Job], engine: Engine, work: Callable[[Job], CaseResult]
) -> Iterator[CaseResult]:
    attempts: dict[str, int] = {}

    def started(job: Job) -> None:
        attempts[job.case.name] = table.start(job.case.name)

    results = engine.run(jobs, work, started)
    try:
        for job, result in results:
            if result.kind == "model unavailable":
                table.wait(job.case.name)
                raise ModelUnavailableError(result.reason)
            if result.kind == NO_MODELS:
                table.wait(job.case.name)
                raise UserError(result.reason)
            result = result.model_copy(update={"attempts": attempts[job.case.name]})
            table.finish(result)
            if result.state == "failed":
                _keep_traceback(job, result)
            yield result
    finally:
        results.close()  # type: ignore[attr-defined]


def _keep_traceback(job: Job, result: CaseResult) -> None:
    """`OUT/failed/CASE.txt`; a folder of an earlier success goes, for it is no longer this case's result."""
    shutil.rmtree(job.folder, ignore_errors=True)
    text = f"{result.kind}: {result.reason}\n\n{result.traceback}".rstrip() + "\n"
    write_text_atomic(Path(job.out) / "failed" / f"{job.case.name}.txt", text)


def write_results(out: Path, cases: Sequence[BatchCase]) -> list[CaseResult]:
    """Write predictions and summaries of every case that has ended, whichever part of the batch ran it."""
    names = {case.name for case in cases}
    rows = {name: row for name, row in all_rows(out).items() if name in names}
    results = [row.result for _, row in sorted(rows.items()) if row.result is not None]
    write_text_atomic(out / PREDICTIONS_NAME, "".join(_prediction(r, cases) for r in results))
    waiting = sorted(name for name, row in rows.items() if row.result is None)
    write_summary(out, results, waiting)
    return results


def _prediction(result: CaseResult, cases: Sequence[BatchCase]) -> str:
    """A line that any scorer can read: an abstention is an empty text, a failure a null."""
    patient = next((case.patient for case in cases if case.name == result.case), None)
    done = result.state == "done"
    line = {
        "case": result.case,
        "patient": patient or result.case,
        "text": result.text if done else None,
        "status": ("report" if result.text else "abstained") if done else "failed",
        "reason": result.reason or result.outcome,
    }
    return json.dumps(line, ensure_ascii=False) + "\n"
