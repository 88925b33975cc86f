"""`make bench`: what a report on a small phantom costs, in seconds, in memory, and against a yardstick.

Seconds differ between machines and hours, and grow with what else runs. The ratio is CPU time ÷ CPU time of
a fixed numpy workload in the same run: it differs less, and hardly with load. Each command is a fresh
process; its peak memory is that of its largest process (the slide decoders, which are children of their own,
stay below 200 MiB each). Steps are wall-clock seconds of the graph's nodes, as `run.json` keeps them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SEED = 7
PATHAGENT = [sys.executable, "-m", "pathagent.cli"]


def yardstick() -> float:
    """CPU seconds of a fixed single-thread workload: the best of three, about half a second each."""
    rng = np.random.default_rng(0)
    values = rng.random(4_000_000)
    times = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(4):
            np.sort(np.sin(values))
        times.append(time.process_time() - start)
    return min(times)


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """(seconds, CPU seconds, peak MiB of its largest process) of one command; its failure is ours."""
    watch = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss); sys.exit(code)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", watch, *command],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - start
    cpu, peak = done.stdout.split()
    return seconds, float(cpu), int(peak) / 1024


def steps_of(report: Path, total: float) -> dict[str, float]:
    """Seconds of each step of the graph, all rounds together; what is left of `total` is `other`.

    `other` is the start of the interpreter, loading the models, and reading and writing files.
    """
    seconds: dict[str, float] = {}
    for timing in json.loads((report / "run.json").read_text())["timings"]:
        seconds[timing["node"]] = seconds.get(timing["node"], 0.0) + timing["seconds"]
    return {**seconds, "other": total - sum(seconds.values())}


def commands(place: Path) -> dict[str, list[str]]:
    """What is measured, in order: a report twice, as the second finds the features of the first."""
    slide = str(place / "phantom" / "slide.tiff")
    return {
        "render": ["phantom", "make", "-o", str(place / "phantom"), "--seed", str(SEED)],
        "slide info": ["slide", "info", slide],
        "report": ["report", slide, "-o", str(place / "report")],
        "report again": ["report", slide, "-o", str(place / "report again")],
        "ask": ["ask", slide, "Is there invasive tumour?"],
    }


def main() -> None:
    """Measure rendering, two reports with their steps, and a question; print a table and one JSON line."""
    unit = yardstick()
    rows: dict[str, dict[str, object]] = {}
    print(
        f"yardstick: {unit:.2f} CPU s (sorting 16 million sines); load at the start {os.getloadavg()[0]:.1f}"
    )
    print(
        f"{'command or step':<18}{'seconds':>9}{'share':>7}{'CPU s':>8}{'× yardstick':>13}{'peak MiB':>10}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        environment = {**os.environ, "PATHAGENT_CACHE": str(place / "cache")}
        for name, arguments in commands(place).items():
            seconds, cpu, peak = measured([*PATHAGENT, *arguments], environment)
            rows[name] = {
                "seconds": round(seconds, 2),
                "cpu_seconds": round(cpu, 2),
                "ratio": round(cpu / unit, 2),
                "peak_mib": round(peak),
            }
            print(f"{name:<18}{seconds:9.1f}{'':7}{cpu:8.1f}{cpu / unit:13.1f}{peak:10.0f}", flush=True)
            if name.startswith("report"):
                steps = steps_of(place / name, seconds)
                rows[name]["steps"] = {step: round(value, 2) for step, value in steps.items()}
                for step, value in steps.items():
                    print(f"  {step:<16}{value:9.1f}{value / seconds:7.0%}", flush=True)
    print(json.dumps({"yardstick_seconds": round(unit, 3), "commands": rows}))


if __name__ == "__main__":
    main()
