"""One run from start to outputs: open or resume, stream the graph, write the folder, clean up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.types import Command
from langsmith import tracing_context

from pathagent import runs
from pathagent.agents.finish import assemble
from pathagent.agents.review import check_review
from pathagent.budget import Budget
from pathagent.events import Event, EventLog, RunFinished, Saved
from pathagent.graph import Graph, build_graph
from pathagent.resources import Resources
from pathagent.review_pairs import pairs_of
from pathagent.runs import RunRecord, Work
from pathagent.state import InputState, State, spent
from pathagent_tools.core.errors import ModelUnavailableError, UserError
from pathagent_tools.core.records import Report, Review

OVERVIEW_PX = 1400
SYNTHETIC = "synthetic"


@dataclass
class Outcome:
    """What a run left behind once its events have been read to the end."""

    report: Report | None = None
    out: Path | None = None
    run: str = ""


@dataclass(frozen=True)
class Beginning:
    """Where a run enters the graph that need not start from nothing: a state, as if `after` had left it."""

    values: dict[str, Any]
    after: str


def draft(
    resources: Resources,
    record: RunRecord,
    outcome: Outcome,
    *,
    force: bool,
    decided: Review | None = None,
    work: Work | None = None,
    begin: Callable[[Resources], Beginning] | None = None,
) -> Generator[Event, None, None]:
    """Run or resume; yields events, fills `outcome`, writes the output folder where one was named.

    work: where the run keeps what it is at, where that is not the cache. begin: what a new run starts from
    instead of from triage; a run that is resumed does not ask for it.
    Raises ModelUnavailableError with the run kept at its checkpoint: the same call resumes it.
    """
    key = runs.run_key(resources)
    work = work or Work(runs.run_folder(key))
    config = _config(work.thread(key), resources)
    outcome.run = resources.run = key
    with runs.locked(work.folder):
        runs.save_record(work.folder, record)
        log = EventLog(work.folder / "events.jsonl", sink=lambda event: get_stream_writer()(event))
        resources.events, resources.work = log, work.folder
        with work.saver(lambda task: log.keep(Saved(task=task))) as saver:
            graph = build_graph(resources, saver)
            yield from _advance(graph, resources, config, decided, begin)
            resources.events = EventLog(log.path)  # outside of the graph nobody listens
            snapshot = graph.get_state(config)
            state: State = snapshot.values  # type: ignore[assignment]
            waiting = bool(snapshot.tasks)
            outcome.report = assemble(resources, state) if waiting else state["report"]
            outcome.out = _write(resources, state, outcome, record, force=force)
        finished = RunFinished(
            run=key,
            outcome=outcome.report.outcome,
            text=outcome.report.outcome_text,
            waiting_for_review=waiting,
            out=str(outcome.out) if outcome.out else None,
        )
        log.keep(finished)
        if not waiting:
            work.discard()
        yield finished


def _config(thread: str, resources: Resources) -> RunnableConfig:
    limit = 12 + 3 * resources.case.budget.looks
    return {"configurable": {"thread_id": thread}, "recursion_limit": limit}


def _advance(
    graph: Graph,
    resources: Resources,
    config: RunnableConfig,
    decided: Review | None,
    begin: Callable[[Resources], Beginning] | None,
) -> Iterator[Event]:
    """Stream the graph from wherever its checkpoint stands to its end or to the review."""
    snapshot = graph.get_state(config)
    resources.resume_clock(snapshot.values.get("seconds", 0.0))
    waiting = any(task.interrupts for task in snapshot.tasks)
    given: InputState | Command[Any] | None
    # Not `snapshot.next`: it is empty, too, where the tasks of a step are saved and the step is not closed.
    if not snapshot.values and not snapshot.tasks:
        given = InputState(case=resources.case)
        if begin is not None:
            yield from _enter(graph, resources, config, begin)
            given = None
    elif waiting and decided is not None:
        check_review(snapshot.values["claims"], decided)
        given = Command(resume=decided.model_dump(mode="json"))
    elif waiting or not snapshot.tasks:
        return
    else:
        given = None
    try:
        yield from _untraced(graph.stream(given, config, stream_mode="custom", durability="sync"))
    except ModelUnavailableError as error:
        raise type(error)(
            f"{error} The run is paused at its checkpoint: the same command resumes it."
        ) from error


def _enter(
    graph: Graph, resources: Resources, config: RunnableConfig, begin: Callable[[Resources], Beginning]
) -> Iterator[Event]:
    """Put the graph where the run begins. What that takes is told like what the nodes do."""
    told: list[Event] = []
    log = resources.events
    resources.events = EventLog(log.path, sink=told.append)
    start = begin(resources)
    resources.events = log
    graph.update_state(config, {"case": resources.case, **start.values}, as_node=start.after)
    yield from told


def _untraced(stream: Iterator[Any]) -> Iterator[Event]:
    """The stream with LangSmith tracing off: prompts and notes stay on this machine, whatever is set."""
    context = copy_context()
    context.run(tracing_context(enabled=False).__enter__)
    try:
        while (event := context.run(next, stream, None)) is not None:
            yield event
    finally:
        context.run(stream.close)  # type: ignore[attr-defined]


def _write(
    resources: Resources, state: State, outcome: Outcome, record: RunRecord, *, force: bool
) -> Path | None:
    """The output folder, where the caller named one."""
    if record.out is None or outcome.report is None:
        return None
    from pathagent.report import Overview, write_run
    from pathagent.report.tile_map import scan_map

    report = outcome.report
    overviews, bounds, tiles = {}, {}, {}
    for given in resources.case.slides:
        opened = resources.slide(given.id)
        slide = opened.slide
        if state["reading"] == "read" and opened.scanned and resources.encoder_knows(given.id):
            tiles[given.id] = scan_map(opened)
        rgb, level0_per_px = slide.thumbnail(OVERVIEW_PX)
        overviews[given.id] = Overview(rgb, level0_per_px)
        bounds[given.id] = slide.bounds[:2]
    images = {e.id: resources.slide(e.region.slide).slide.read(e.region) for e in report.evidence}
    return write_run(
        Path(record.out),
        report,
        evidence_images=images,
        overviews=overviews,
        bounds=bounds,
        run=run_record(resources, state, outcome.run),
        pairs=pairs_of(state, outcome.run),
        tiles=tiles,
        illustrations=_illustrations(resources, report),
        force=force,
    )


def _illustrations(resources: Resources, report: Report) -> dict[str, bytes]:
    """Id → the marked file as the illustrate agent wrote it into the run's folder.

    UserError where it is gone: a checkpoint in PostgreSQL outlives the disk that its pictures lay on.
    """
    if resources.work is None:
        return {}
    folder = resources.work / SYNTHETIC
    if gone := [image.file for image in report.illustrations if not (folder / image.file).is_file()]:
        raise UserError(
            f"The synthetic images of this draft ({', '.join(gone)}) are not on this disk. "
            "Draft the report again, or start with the --data that it was drafted with."
        )
    return {image.id: (folder / image.file).read_bytes() for image in report.illustrations}


def run_record(resources: Resources, state: State, key: str) -> dict[str, Any]:
    """`run.json`: all that a report leaves out because it differs from time to time, and raw answers."""
    import pathagent

    budget: Budget = resources.case.budget
    decided = state.get("review")
    report_provenance = assemble(resources, state).provenance
    return {
        "run": key,
        "versions": {"pathagent": pathagent.__version__, "python": sys.version.split()[0]},
        "provenance": report_provenance,
        "budget": budget.model_dump(),
        "spent": spent(state).model_dump(),
        "stop": state.get("stop", ""),
        "beliefs": [b.model_dump(mode="json") for b in state.get("beliefs", [])],
        "timings": [t.model_dump(mode="json") for t in state.get("timings", [])],
        "completions": [c.model_dump(mode="json") for c in state.get("calls", [])],
        "review": decided.model_dump(mode="json") if decided else None,
    }
