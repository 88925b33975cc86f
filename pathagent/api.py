"""The Python interface: draft a report, ask a question, follow the events, decide a review."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pathagent.budget import Budget
from pathagent.events import Event
from pathagent.state import Case, Navigation, SlideInput
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import SlideEncoder, VisionLanguageModel
from pathagent_tools.core.records import Report, Review

if TYPE_CHECKING:
    from pathagent.drafting import Outcome
    from pathagent.notebook.viewer import SlideViewer
    from pathagent.resources import Resources

Slides = str | Path | Sequence[str | Path]
Progress = Callable[[Event], None]


def draft_report(
    slides: Slides,
    *,
    question: str | None = None,
    notes: str | None = None,
    profile: str = "embedded",
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
    specimen: str | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    vlm: VisionLanguageModel | None = None,
    encoder: SlideEncoder | None = None,
    vlm_url: str | None = None,
    vlm_model: str | None = None,
    review: Literal["none", "required"] = "none",
    navigation: Navigation = "agent",
    illustrate: bool = False,
    knowledge: str | Path | None = None,
    cases: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Draft the report of a case: one slide, or several of one patient specimen.

    slides: path(s) of whole-slide images. question: what the report should also answer. notes: history or
    earlier reports; quoted in the report, read by the model as data. profile: which models stand behind
    the tools. mpp: µm per level-0 pixel, wins over metadata. mpp_csv: CSV with columns `wsi,mpp`.
    specimen: type whose required elements the report lists. budget: looks, tokens, seconds. out: folder to
    write (see `force`); None writes nothing. vlm, encoder: models to use instead of the profile's.
    review: 'required' stops before the end; go on with `resume_review`. navigation: 'agent', or a simpler
    way of looking to compare it with. illustrate: let synthetic images be drawn where they help; marked,
    apart, never evidence (slower). knowledge: folder of Markdown or text files with written criteria.
    cases: folder of a case index (`index_cases`). What is found in the two is shown in a section "Compare"
    beside the draft; no model reads it and no claim rests on it. progress: called with each event.

    Returns the report, which may be a stated abstention (`report.outcome`). The same case, models and seed
    give the same report. A run that was killed resumes with the same call.
    Raises UserError (SlideError among them), ModelUnavailableError (paused; the same call resumes).
    """
    arguments: dict[str, Any] = {k: v for k, v in locals().items() if k not in ("slides", "progress")}
    return _finish(slides, progress, task="report", **arguments)


def ask(
    slide: Slides,
    question: str,
    *,
    options: Sequence[str] = (),
    region: str | Sequence[int] | None = None,
    notes: str | None = None,
    profile: str = "embedded",
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    vlm: VisionLanguageModel | None = None,
    encoder: SlideEncoder | None = None,
    vlm_url: str | None = None,
    vlm_model: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Ask one question of a slide (or case). `report.answer` holds the answer, its claim the evidence.

    options: the answers to choose from, where the question is a multiple choice. region: (x, y, width,
    height) in level-0 px of the first slide, or "S2:x,y,width,height" of the second; nothing else is looked
    at, and at most six fields of it. What H&E cannot show is answered "not assessable from this material",
    whoever asks. Other arguments and errors: `draft_report`.
    """
    arguments: dict[str, Any] = {k: v for k, v in locals().items() if k not in ("slide", "progress")}
    if not question.strip():
        raise UserError(
            'The question is empty. Ask for example: pathagent ask slide.svs "Is there necrosis?"'
        )
    return _finish(slide, progress, task="ask", **arguments)


async def adraft_report(slides: Slides, **arguments: Any) -> Report:
    """`draft_report` in a worker thread, for callers with an event loop."""
    return await asyncio.to_thread(partial(draft_report, slides, **arguments))


async def aask(slide: Slides, question: str, **arguments: Any) -> Report:
    """`ask` in a worker thread."""
    return await asyncio.to_thread(partial(ask, slide, question, **arguments))


def stream_report(
    slides: Slides, *, question: str | None = None, **arguments: Any
) -> Iterator[Event | Report]:
    """Events of a run as they happen, and the Report last. Arguments as `draft_report`.

    Leaving the loop early stops the run after the node at work; the same call goes on from there.
    """
    from pathagent.drafting import Outcome

    outcome = Outcome()
    yield from _events(slides, outcome, task="report", question=question, **arguments)
    yield cast("Report", outcome.report)


async def astream_report(slides: Slides, **arguments: Any) -> AsyncIterator[Event | Report]:
    """`stream_report` for callers with an event loop."""
    events = stream_report(slides, **arguments)
    try:
        while (item := await asyncio.to_thread(next, events, None)) is not None:
            yield item
    finally:
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


def view(slide: str | Path, report: Report | None = None, *, mpp: float | None = None) -> SlideViewer:
    """The slide as a widget for a notebook, with the looks of `report` over it. No server is started.

    mpp: µm per level-0 pixel, wins over metadata. Raises SlideError where the slide cannot be opened,
    UserError where the report is of other slides or the extra `notebook` is not installed.
    """
    try:
        from pathagent.notebook.viewer import SlideViewer
    except ModuleNotFoundError as error:
        if error.name not in ("anywidget", "traitlets"):
            raise
        raise UserError("The viewer needs anywidget. Type: pip install 'pathagent[notebook]'") from None
    return SlideViewer(slide, report, mpp)


def resume_review(
    run: str | Path,
    review: Review,
    *,
    vlm: VisionLanguageModel | None = None,
    encoder: SlideEncoder | None = None,
    progress: Progress | None = None,
) -> Report:
    """Decide a draft that waits for review: approve, edit or reject.

    run: the run's key (`report.provenance["run"]`), or its output folder, which is then replaced by the
    reviewed report.
    Raises UserError where no such run waits or an edit names an unknown claim.
    """
    from pathagent import runs
    from pathagent.drafting import Outcome, draft

    key, folder = _key_of(run)
    record = runs.load_record(runs.run_folder(key))
    if folder is not None:
        record = record.model_copy(update={"out": str(folder)})
    outcome = Outcome()
    given = {"vlm": vlm, "encoder": encoder, "vlm_url": record.vlm_url, "vlm_model": record.vlm_model}
    with _resources(record.case, record.profile, **given) as resources:
        for event in draft(resources, record, outcome, force=True, decided=review):
            if progress is not None:
                progress(event)
    return cast("Report", outcome.report)


def _key_of(run: str | Path) -> tuple[str, Path | None]:
    """(run key, output folder if that was given)."""
    import json

    path = Path(run) / "run.json"
    if not path.is_file():
        return str(run), None
    return str(json.loads(path.read_text(encoding="utf-8"))["run"]), Path(run).resolve()


def _finish(slides: Slides, progress: Progress | None, **arguments: Any) -> Report:
    from pathagent.drafting import Outcome

    outcome = Outcome()
    for event in _events(slides, outcome, **arguments):
        if progress is not None:
            progress(event)
    return cast("Report", outcome.report)


def _events(
    slides: Slides,
    outcome: Outcome,
    *,
    task: Literal["report", "ask"] = "report",
    profile: str = "embedded",
    budget: Budget | None = None,
    mpp_csv: str | Path | None = None,
    out: str | Path | None = None,
    vlm: VisionLanguageModel | None = None,
    encoder: SlideEncoder | None = None,
    vlm_url: str | None = None,
    vlm_model: str | None = None,
    force: bool = False,
    options: Sequence[str] = (),
    knowledge: str | Path | None = None,
    cases: str | Path | None = None,
    region: str | Sequence[int] | None = None,
    **asked: Any,
) -> Iterator[Event]:
    from pathagent import followups
    from pathagent.agents.comparison import compare_with, open_index
    from pathagent.agents.simpler import check_navigation
    from pathagent.asked_region import asked_region
    from pathagent.drafting import draft
    from pathagent.rules.synoptic import specimen_of
    from pathagent.runs import RunRecord

    specimen_of(asked.get("specimen"))
    if out is not None:
        from pathagent.output_folder import check_folder

        check_folder(Path(out), force=force)
    case = Case(
        slides=_inputs(slides),
        task=task,
        budget=budget or Budget(),
        mpp_csv=None if mpp_csv is None else str(mpp_csv),
        options=tuple(options),
        compare=compare_with(knowledge, cases),
        **asked,
    )
    check_navigation(case)
    where = None if region is None else asked_region(region, case.slides)
    with _resources(
        case, profile, vlm=vlm, encoder=encoder, vlm_url=vlm_url, vlm_model=vlm_model
    ) as resources:
        if case.compare.index:
            open_index(resources, case.compare)
        known = tuple(
            s.model_copy(update={"digest": resources.slide(s.id).slide.digest}) for s in case.slides
        )
        case = resources.case = case.model_copy(update={"slides": known})
        begin = None
        if where is not None:
            name, box = where
            drawn = followups.drawn_on(resources.slide(name).slide, name, box)
            resources.case, begin = followups.only_at(resources, drawn), followups.look_at(drawn, None)
        record = RunRecord(
            case=resources.case,
            profile=profile,
            vlm_url=vlm_url,
            vlm_model=vlm_model,
            out=None if out is None else str(Path(out).resolve()),
        )
        yield from draft(resources, record, outcome, force=force, begin=begin)


def _inputs(slides: Slides) -> tuple[SlideInput, ...]:
    paths = [slides] if isinstance(slides, str | Path) else list(slides)
    if not paths:
        raise UserError("No slide was given. Type for example: pathagent report slide.svs -o report")
    return tuple(
        SlideInput(id=f"S{i + 1}", path=str(Path(p).expanduser().resolve())) for i, p in enumerate(paths)
    )


def _resources(case: Case, profile: str, **models: Any) -> Resources:
    from pathagent.resources import Resources
    from pathagent.runs import cache_dir
    from pathagent_tools.vlm.profile import load_profile

    return Resources(
        case=case,
        profile=load_profile(profile),
        store=cache_dir() / "features",
        given_vlm=models["vlm"],
        given_encoder=models["encoder"],
        vlm_url=models["vlm_url"],
        vlm_model=models["vlm_model"],
    )
