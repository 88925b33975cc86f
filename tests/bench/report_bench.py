"""`make bench`: what a report on a small phantom costs, in seconds, in memory, and against a yardstick.

Seconds differ between machines and hours; ratios to a fixed numpy workload timed in the same run differ
less. Each step is a fresh process; its peak memory is that of its largest process (the slide decoders,
which are children of their own, stay below 200 MiB each).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SEED = 7
PATHAGENT = [sys.executable, "-m", "pathagent.cli"]


def yardstick() -> float:
    """Seconds of a fixed single-thread workload: the best of three, about half a second each."""
    rng = np.random.default_rng(0)
    values = rng.random(4_000_000)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(4):
            np.sort(np.sin(values))
        times.append(time.perf_counter() - start)
    return min(times)


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """(seconds, peak MiB of its largest process) of one command; its failure is ours."""
    watch = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", watch, *command],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, int(done.stdout) / 1024


def main() -> None:
    """Measure rendering, a first report and a second one (features cached), and print one table."""
    unit = yardstick()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        environment = {**os.environ, "PATHAGENT_CACHE": str(place / "cache")}
        slide = str(place / "phantom" / "slide.tiff")
        steps = {
            "render": ["phantom", "make", "-o", str(place / "phantom"), "--seed", str(SEED)],
            "slide info": ["slide", "info", slide],
            "report": ["report", slide, "-o", str(place / "first")],
            "report again": ["report", slide, "-o", str(place / "second")],
            "ask": ["ask", slide, "Is there invasive tumour?"],
        }
        for name, arguments in steps.items():
            seconds, peak = measured([*PATHAGENT, *arguments], environment)
            rows[name] = {
                "seconds": round(seconds, 2),
                "ratio": round(seconds / unit, 2),
                "peak_mib": round(peak),
            }
            print(
                f"{name:<14} {seconds:7.1f} s  {seconds / unit:7.1f} × yardstick  {peak:7.0f} MiB", flush=True
            )
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"yardstick_seconds": round(unit, 3), "bench_mib": round(own), "steps": rows}))


if __name__ == "__main__":
    main()
