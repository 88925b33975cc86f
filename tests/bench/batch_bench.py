"""`make bench-batch`: what a batch costs beside single commands, and two workers beside one.

Small phantoms, embedded models, `--stages triage,measure` (a report's cost is in report_bench). Seconds and
CPU seconds (children included): on a busy machine only the latter mean something. `--only workers` leaves
the single commands out.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pathagent_tools.phantom.slide import write_slide
from pathagent_tools.phantom.world import make_phantom

SLIDES = 48
ALONE = 12
"""So many of the slides are run one by one, each in a command of its own."""
REPEATS = 2
PR_SET_CHILD_SUBREAPER = 36
PATHAGENT = [sys.executable, "-m", "pathagent.cli"]


def measured(command: list[str], cache: Path, cores: int | None = None) -> tuple[float, float]:
    """(seconds, CPU seconds) of one command with its own cache, on so many cores; its failure is ours."""
    environment = os.environ | {"PATHAGENT_CACHE": str(cache)}
    held = [] if cores is None else ["taskset", "--cpu-list", f"0-{cores - 1}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*held, *PATHAGENT, *command], env=environment, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - start
    _await_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _await_orphans() -> None:
    """Workers outlive the command for a moment; waited for, their CPU seconds count here."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def main() -> None:
    """Render phantoms, then run some of them alone, and all with one worker and with two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["workers"])
    only = parser.parse_args().only
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        slides = [write_slide(make_phantom(i), place, name=f"slide-{i}") for i in range(SLIDES)]
        if not only:
            alone(slides, place / "alone")
        several(slides, place / "several")


def batch(slides: list[Path], place: Path, workers: int, cores: int | None) -> float:
    """Seconds of one batch in a new folder; prints its row."""
    out = ["-o", str(place), "--stages", "triage,measure", "--workers", str(workers)]
    seconds, cpu = measured(["batch", *map(str, slides), *out], place.with_name(f"{place.name} cache"), cores)
    name = f"{len(slides)} slides, {workers} on {cores or 'all'} cores"
    print(f"{name:<26} {seconds:8.1f} s {cpu:8.1f} CPU s", flush=True)
    return seconds


def alone(slides: list[Path], place: Path) -> None:
    """A slide of a batch beside a command of its own."""
    apart = sum(batch([s], place / s.stem, 1, None) for s in slides[:ALONE]) / ALONE
    together = batch(slides, place / "all", 1, None) / SLIDES
    print(f"a slide of one worker beside a single command: {together / apart:.2f} of its time")


def several(slides: list[Path], place: Path) -> None:
    """Two workers on two cores beside one on one: as a whole, and by what a further slide takes.

    A further slide: the time of all slides less that of one slide a worker, in which every worker starts
    and loads its models. Of `REPEATS` rounds, taken in turn, the fastest of each.
    """
    first: dict[int, list[float]] = {1: [], 2: []}
    whole: dict[int, list[float]] = {1: [], 2: []}
    for i in range(REPEATS):
        for n in (1, 2):
            first[n].append(batch(slides[:n], place / f"{n} start {i}", n, n))
            whole[n].append(batch(slides, place / f"{n} all {i}", n, n))
    further = {n: (min(whole[n]) - min(first[n])) / (SLIDES - n) for n in (1, 2)}
    print(f"two workers beside one: {min(whole[1]) / min(whole[2]):.2f} times as fast")
    print(f"by the further slide ({further[1]:.2f} s, {further[2]:.2f} s): {further[1] / further[2]:.2f}")


if __name__ == "__main__":
    main()
