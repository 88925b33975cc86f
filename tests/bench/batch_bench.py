"""`make bench-batch`: what a batch costs beside single commands, and two workers beside one.

Small phantoms, embedded models, `--stages triage,measure` (a report's cost is in report_bench). Seconds and
CPU seconds (children included): on a busy machine only the latter mean something.
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

SLIDES = 12
PATHAGENT = [sys.executable, "-m", "pathagent.cli"]


def measured(command: list[str], cache: Path) -> tuple[float, float]:
    """(seconds, CPU seconds) of one command with a cache of its own; its failure is ours."""
    environment = os.environ | {"PATHAGENT_CACHE": str(cache)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*PATHAGENT, *command], env=environment, stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Render a few phantoms, then run them alone, with one worker and with two."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        slides = []
        for i in range(SLIDES):
            measured(["phantom", "make", "-o", str(place / f"p{i}"), "--seed", str(i)], place / "none")
            slides.append((place / f"p{i}/slide.tiff").rename(place / f"slide-{i}.tiff"))
        stages = ["--stages", "triage,measure"]
        rows = {
            "first of a process": measured(
                ["batch", str(slides[0]), "-o", str(place / "warm"), *stages], place / "warm-cache"
            )
        }
        alone = [
            measured(["batch", str(s), "-o", str(place / f"alone-{s.stem}"), *stages], place / f"c-{s.stem}")
            for s in slides
        ]
        rows["one by one"] = (sum(s for s, _ in alone), sum(c for _, c in alone))
        for workers in (1, 2):
            command = ["batch", *map(str, slides), "-o", str(place / f"w{workers}"), *stages]
            rows[f"batch, {workers} workers"] = measured(
                [*command, "--workers", str(workers)], place / f"cache-{workers}"
            )
    for name, (seconds, cpu) in rows.items():
        print(f"{name:<22} {seconds:8.1f} s {cpu:8.1f} CPU s")
    apart, one, two = (rows[name][0] for name in ("one by one", "batch, 1 workers", "batch, 2 workers"))
    print(f"one worker beside single commands: {one / apart:.2f} of their time")
    print(f"two workers beside one: {one / two:.2f} times as fast")
    print(json.dumps({name: [round(v, 2) for v in row] for name, row in rows.items()}))


if __name__ == "__main__":
    main()
