"""`make bench-batch`: what a batch costs beside single commands, and two workers beside one.

Small phantoms, embedded models, `--stages triage,measure` (a report's cost is in report_bench). Seconds and
CPU seconds (children included): on a busy machine only the latter mean something.
"""

from __future__ import annotations

import ctypes
import json
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
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        slides = [write_slide(make_phantom(i), place, name=f"slide-{i}") for i in range(SLIDES)]
        stages = ["--stages", "triage,measure"]
        rows = {
            "first of a process": measured(
                ["batch", str(slides[0]), "-o", str(place / "warm"), *stages], place / "warm-cache"
            )
        }
        alone = [
            measured(["batch", str(s), "-o", str(place / f"alone-{s.stem}"), *stages], place / f"c-{s.stem}")
            for s in slides[:ALONE]
        ]
        rows[f"{ALONE} one by one"] = (sum(s for s, _ in alone), sum(c for _, c in alone))
        for workers, cores in ((1, None), (1, 1), (2, 2)):
            name = f"{workers} workers, {cores or 'all'} cores"
            command = ["batch", *map(str, slides), "-o", str(place / name), *stages]
            rows[name] = measured([*command, "--workers", str(workers)], place / f"cache {name}", cores)
    for name, (seconds, cpu) in rows.items():
        print(f"{name:<22} {seconds:8.1f} s {cpu:8.1f} CPU s")
    first, apart, free, one, two = (row[0] for row in rows.values())
    share = free / SLIDES / (apart / ALONE)
    start = (first - one / SLIDES) / (1 - 1 / SLIDES)
    print(f"a slide of one worker beside a single command: {share:.2f} of its time")
    print(f"two workers, two cores, beside one on one core: {one / two:.2f} times as fast")
    print(f"without the start of a process ({start:.1f} s): {(one - start) / (two - start):.2f}")
    print(f"beside one that has both cores for the model: {free / two:.2f} times as fast")
    print(json.dumps({name: [round(v, 2) for v in row] for name, row in rows.items()}))


if __name__ == "__main__":
    main()
