"""What a worker process does with one case. Models are loaded once a process."""

from __future__ import annotations

import base64
import csv
import io
import json
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pathagent.batches.case import CaseResult, Job, Settings
from pathagent.batches.engine import failed
from pathagent.output_folder import whole_folder
from pathagent_tools.core.errors import PathAgentError, UserError
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.protocols import SlideEncoder, VisionLanguageModel
from pathagent_tools.core.records import Report

if TYPE_CHECKING:
    from pathagent.resources import Resources
    from pathagent_tools.slides import Slide

RESULT_NAME: Final = "case.json"
"""Last file of a finished case: proves that it is whole."""
NO_MODELS: Final = "no models"
"""Kind of a failure that would be every case's: the batch stops at it."""
TRIAGE_NAME: Final = "triage.json"
THUMBNAIL_PX: Final = 160
SCORED_SECTIONS: Final = ("diagnosis", "microscopy", "answer")
"""Sections of a report whose sentences are scored: measurements and limits are not what a reader signs."""


class ModelsMissingError(UserError):
    """What every case needs cannot be had, such as the profile's models: no case of the batch can be run."""


def work(job: Job, encoder: SlideEncoder | None = None) -> CaseResult:
    """Run one case. Never raises: what goes wrong becomes a failed result with its kind and traceback.

    encoder: one that workers share, in place of this process's own.
    """
    started = time.monotonic()
    try:
        result = (_triage if job.settings.stages != "all" else _report)(job, encoder)
        result = result.model_copy(update={"seconds": round(time.monotonic() - started, 2)})
        write_text_atomic(job.folder / RESULT_NAME, result.model_dump_json(indent=2) + "\n")
    except MemoryError as error:
        return failed(job, "out of memory", str(error) or "The worker ran out of memory.", **_cost(started))
    except ModelsMissingError as error:
        return failed(job, NO_MODELS, str(error), **_cost(started))
    except PathAgentError as error:
        return failed(job, error.kind, str(error), **_cost(started))
    except Exception as error:  # noqa: BLE001 - the batch's boundary: any failure of a case is its row
        return failed(job, "our fault", f"{type(error).__name__}: {error}", **_cost(started))
    return result


def _cost(started: float) -> dict[str, Any]:
    return {"seconds": time.monotonic() - started, "traceback": traceback.format_exc()}


def _report(job: Job, shared: SlideEncoder | None) -> CaseResult:
    from pathagent.api import draft_report
    from pathagent_tools.slides import open_slide

    vlm, encoder = _loaded(job, shared)
    with _resolutions(job) as resolution:
        draft = draft_report(
            [slide.path for slide in job.case.slides],
            notes=job.case.history,
            specimen=job.case.specimen,
            profile=job.settings.profile,
            budget=job.settings.budget,
            seed=job.settings.seed,
            vlm=vlm,
            encoder=encoder,
            out=job.folder,
            force=True,
            **_beside(job, encoder),
            **resolution,
        )
    leading = _leading(draft)
    why = "" if leading else draft.outcome_text
    first = job.case.slides[0]
    with open_slide(first.path, mpp=first.mpp) as slide:
        seen = _thumbnail(slide)
    return _done(
        job,
        outcome=draft.outcome,
        diagnosis=leading,
        reason=why,
        text=report_text(draft),
        thumbnail=seen,
    )


def _beside(job: Job, encoder: SlideEncoder) -> dict[str, Any]:
    """The folders that drafts are compared with. ModelsMissingError where none can be: an index of another
    encoder, or a folder that has changed since the batch began."""
    from pathagent.agents.comparison import compare_with
    from pathagent_tools.encoders.case_index import CaseIndex

    given = job.settings.compare
    found = {"knowledge": given.knowledge, "cases": given.index}
    wanted: dict[str, Any] = {name: folder for name, folder in found.items() if folder}
    try:
        if compare_with(wanted.get("knowledge"), wanted.get("cases")) != given:
            told = " or ".join(wanted.values())
            raise UserError(f"{told} has changed since this batch began. Put it back, or add --force.")
        if given.index:
            CaseIndex.open(Path(given.index), encoder=encoder.id, revision=encoder.revision)
    except UserError as error:
        raise ModelsMissingError(str(error)) from error
    return wanted


def _leading(draft: Report) -> str:
    if draft.outcome != "report" or not draft.differential:
        return ""
    return draft.differential[0].text


def report_text(draft: Report) -> str:
    """The sentences of a draft that stand and are scored, in order; empty where it abstains."""
    if draft.outcome != "report":
        return ""
    said = [c.text for c in draft.claims if c.section in SCORED_SECTIONS and c.stands]
    return "\n".join(said)


def _triage(job: Job, shared: SlideEncoder | None) -> CaseResult:
    """Judge, and measure where asked, every slide; no look is taken and no sentence written."""
    from pathagent.agents.triage import judge, measure

    with _resolutions(job) as resolution, _opened(job, shared, **resolution) as resources:
        slides = [resources.slide(slide.id) for slide in resources.case.slides]
        records = [judge(resources, opened) for opened in slides]
        found: dict[str, Any] = {"slides": [record.model_dump(mode="json") for record in records]}
        if job.settings.stages == "triage,measure":
            measured = [measure(resources, o, r) for o, r in zip(slides, records, strict=True)]
            found["measures"] = [m.model_dump(mode="json") for m in measured]
        seen = _thumbnail(slides[0].slide)
    with whole_folder(job.folder, force=True) as folder:
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        write_text_atomic(folder / TRIAGE_NAME, text)
    outcomes = sorted({record.outcome for record in records})
    said = "; ".join("readable" if o == "report" else o for o in outcomes)
    return _done(job, outcome=said, thumbnail=seen)


def _opened(job: Job, shared: SlideEncoder | None, **resolution: Any) -> Resources:
    """The slides and models of a case, outside any graph."""
    from pathagent.resources import Resources
    from pathagent.runs import cache_dir
    from pathagent.state import Case, SlideInput
    from pathagent_tools.vlm.profile import load_profile

    vlm, encoder = _loaded(job, shared)
    slides = tuple(SlideInput(id=f"S{i}", path=s.path) for i, s in enumerate(job.case.slides, 1))
    return Resources(
        case=Case(slides=slides, seed=job.settings.seed, **resolution),
        profile=load_profile(job.settings.profile),
        store=cache_dir() / "features",
        given_vlm=vlm,
        given_encoder=encoder,
    )


@contextmanager
def _resolutions(job: Job) -> Iterator[dict[str, Any]]:
    """How the slides' µm per pixel are handed on: one value, or a table where they differ."""
    known = {slide.mpp for slide in job.case.slides}
    if len(known) == 1:
        yield {"mpp": known.pop()}
        return
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as table:
        rows = csv.writer(table)
        rows.writerow(["wsi", "mpp"])
        rows.writerows([s.name, s.mpp] for s in job.case.slides if s.mpp is not None)
        table.flush()
        yield {"mpp_csv": table.name}


def _done(job: Job, **found: str) -> CaseResult:
    folder = job.folder.relative_to(job.out)
    known = {"case": job.case.name, "slides": len(job.case.slides), "digest": job.digest}
    return CaseResult.model_validate({**known, **found, "state": "done", "folder": str(folder)})


def _loaded(job: Job, shared: SlideEncoder | None) -> tuple[VisionLanguageModel, SlideEncoder]:
    settings = job.settings.model_copy(update={"vlm_url": server_of(job)})
    try:
        if shared is not None:
            return open_model(settings, job.threads), shared
        return models(settings, job.threads)
    except UserError as error:
        raise ModelsMissingError(str(error)) from error


def server_of(job: Job) -> str | None:
    """Which of several model servers (addresses by comma) answers for a case: always the same."""
    urls = [url.strip() for url in (job.settings.vlm_url or "").split(",") if url.strip()]
    return urls[zlib.crc32(job.case.name.encode()) % len(urls)] if urls else None


@cache
def models(settings: Settings, threads: int) -> tuple[VisionLanguageModel, SlideEncoder]:
    """The models of the batch, kept for the life of the process. UserError where weights are missing."""
    from pathagent_tools.encoders.registry import load_encoder
    from pathagent_tools.vlm.profile import load_profile

    return open_model(settings, threads), load_encoder(load_profile(settings.profile).encoder)


@cache
def open_model(settings: Settings, threads: int) -> VisionLanguageModel:
    """The VLM of the batch, kept for the life of the process. UserError where it cannot be opened."""
    import torch
    from threadpoolctl import threadpool_limits

    from pathagent_tools.vlm.profile import load_profile, open_vlm

    torch.set_num_threads(threads)
    threadpool_limits(threads)
    profile = load_profile(settings.profile)
    return open_vlm(profile, vlm_url=settings.vlm_url, vlm_model=settings.vlm_model)


def _thumbnail(slide: Slide) -> str:
    """JPEG of a slide, its longer side `THUMBNAIL_PX`, base64."""
    from PIL import Image

    rgb, _ = slide.thumbnail(THUMBNAIL_PX)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
