"""Workers of a test batch: the tiny models, and cases that kill, hang or starve their worker by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stand_ins import PROFILE, ColourEncoder, LookingModel, gone_after

from pathagent.batches import work as real
from pathagent.batches.case import BatchCase, BatchSlide, CaseResult, Job, Settings
from pathagent_tools.core.errors import UserError

SETTINGS = Settings(profile=PROFILE)
LOOKED = LookingModel(), ColourEncoder()


def case(name: str, *paths: object, **more: str) -> BatchCase:
    return BatchCase(name=name, slides=tuple(BatchSlide(path=str(p)) for p in paths), **more)


def tiny_work(job: Job) -> CaseResult:
    """`work` with the tiny models."""
    real.models = lambda settings, threads: LOOKED  # type: ignore[assignment]
    return real.work(job)


def shared_work(job: Job, encoder: Any) -> CaseResult:
    """`work` with an encoder that workers share."""
    real.open_model = lambda settings, threads: LOOKED[0]  # type: ignore[assignment]
    return real.work(job, encoder)


class ColourActor(ColourEncoder):
    """The colour encoder as an actor of a cluster."""

    def __init__(self, profile: str) -> None:
        self.profile = profile

    def card(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("id", "revision", "tile_px", "tile_mpp", "dim")}


def poisoned_work(job: Job) -> CaseResult:
    """As `tiny_work`, but some names are poison."""
    name = job.case.name
    if name.startswith("abort"):
        os.abort()
    if name.startswith("hang"):
        time.sleep(600)
    if name.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("greedy"):
        real.models = _greedy  # type: ignore[assignment]
        return real.work(job)
    return tiny_work(job)


def telling_work(job: Job) -> CaseResult:
    """Says what a worker was given: a variable of its environment, and the threads of its libraries."""
    import numpy as np
    from threadpoolctl import threadpool_info

    import pathagent_tools.vlm.profile as profiles

    profiles.open_vlm = lambda *_, **__: LOOKED[0]  # type: ignore[assignment]
    real.open_model(job.settings, job.threads)
    np.ones((2, 2)) @ np.ones((2, 2))
    threads = sorted({pool["num_threads"] for pool in threadpool_info()})
    text = f"{os.environ.get('TOLD')} {threads}"
    return CaseResult(case=job.case.name, state="done", text=text, digest=job.digest)


def _greedy(settings: Settings, threads: int) -> None:
    raise MemoryError("Unable to allocate 93.1 GiB")


class Inline:
    """An engine without processes: the jobs one after another, in this one. Counts what it is handed."""

    def __init__(self, work: Callable[[Job], CaseResult] = tiny_work, stop_after: int = 10**6) -> None:
        self.given, self.work, self.stop_after = [], work, stop_after  # type: ignore[var-annotated]

    def run(
        self, jobs: Sequence[Job], work: Callable[[Job], CaseResult], started: Callable[[Job], None]
    ) -> Iterator[tuple[Job, CaseResult]]:
        for job in jobs:
            started(job)
            self.given.append(job)
            if len(self.given) > self.stop_after:
                raise KeyboardInterrupt
            yield job, self.work(job)


def without_weights(job: Job) -> CaseResult:
    """A worker whose profile has no weights."""
    real.models = _no_weights  # type: ignore[assignment]
    return real.work(job)


def _no_weights(settings: Settings, threads: int) -> None:
    raise UserError("There are no weights in adapters/. Type: pathagent doctor")


def server_gone(job: Job) -> CaseResult:
    """A worker whose model server went away."""
    real.models = lambda settings, threads: (LookingModel(before=gone_after(0)), ColourEncoder())  # type: ignore[assignment]
    return real.work(job)
