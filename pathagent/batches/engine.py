"""Who runs the jobs: an engine hands them to processes and says what came back.

`Engine` is all that the driver knows, so a cluster can stand behind it. `ProcessEngine` is one machine:
processes that may crash, hang or be killed without taking the batch along (package pebble).
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from signal import SIGKILL, Signals
from typing import Any, Final, Protocol

from pathagent.batches.case import CaseResult, Job

Work = Callable[[Job], CaseResult]
PRELOADED: Final = [
    "pathagent.api",
    "pathagent.batches.work",
    "pathagent_tools.vlm.inprocess",
    "open_clip",
    "peft",
]
"""Imported once, by the process from which all workers of this machine are forked."""


class Engine(Protocol):
    """Runs jobs; yields each with its result as it ends, in any order.

    `started` is called when a job is handed to a worker. What kills a worker is a failed result, never an
    exception here. Closing the iterator ends the workers.
    """

    def run(
        self, jobs: Sequence[Job], work: Work, started: Callable[[Job], None]
    ) -> Iterator[tuple[Job, CaseResult]]: ...


class ProcessEngine:
    """`workers` processes of this machine. timeout_s: of one case; its worker is then killed and replaced."""

    def __init__(self, workers: int = 1, timeout_s: float = 3600.0) -> None:
        self.workers, self.timeout_s = workers, timeout_s

    def run(
        self, jobs: Sequence[Job], work: Work, started: Callable[[Job], None]
    ) -> Iterator[tuple[Job, CaseResult]]:
        """As `Engine.run`. Workers are forked from a clean process: nothing of the driver leaks into them."""
        from pebble import ProcessPool

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        pool = ProcessPool(
            max_workers=self.workers, context=context, initializer=_take_over, initargs=(dict(os.environ),)
        )
        waiting, running = list(reversed(jobs)), dict[Future[CaseResult], Job]()
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    job = waiting.pop()
                    started(job)
                    running[pool.schedule(work, args=(job,), timeout=self.timeout_s)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    yield job, self._result(job, future)
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()

    def _result(self, job: Job, future: Future[Any]) -> CaseResult:
        from pebble import ProcessExpired

        try:
            result: CaseResult = future.result()
        except TimeoutError:
            reason = f"It took longer than {self.timeout_s:g} s and was stopped. Allow more with --timeout."
            return failed(job, "timeout", reason)
        except MemoryError:
            return failed(job, "out of memory", "The worker ran out of memory. Use fewer --workers.")
        except ProcessExpired as error:
            return failed(job, *_death(error.exitcode))
        return result


def _take_over(environment: dict[str, str]) -> None:
    """Make a worker its driver's, before its first job: it has the driver's environment of now (what it is
    forked from keeps that of its start), and ends when the driver is killed, whatever it is busy with, so
    that it does not go on beside the one that resumes the batch."""
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_die_with_driver, daemon=True, name="die with driver").start()


def _die_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os.kill(os.getpid(), SIGKILL)


def failed(job: Job, kind: str, reason: str, *, seconds: float = 0.0, traceback: str = "") -> CaseResult:
    """The result of a job that gave none."""
    return CaseResult(
        case=job.case.name,
        state="failed",
        kind=kind,
        reason=" ".join(reason.split()),
        slides=len(job.case.slides),
        seconds=round(seconds, 2),
        digest=job.digest,
        traceback=traceback,
    )


def _death(code: int) -> tuple[str, str]:
    """(kind, reason) of a worker that died with an exit code; negative codes are signals."""
    if code == -SIGKILL:
        return "out of memory", "The worker was killed, most likely for memory. Use fewer --workers."
    name = Signals(-code).name if code < 0 else f"exit code {code}"
    return "aborted", f"The worker died ({name}) on this case. Try: pathagent report on its slides alone."
