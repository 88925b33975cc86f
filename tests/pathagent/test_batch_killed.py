"""Kill -9 of the driver: the workers die with it, nothing is lost, nothing that was done is done again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_work import case
from tiny_slides import paint, write_slide

from pathagent.batches.case import BatchCase
from pathagent.batches.jobs import all_rows

HERE = Path(__file__).parent
WORKERS = 2


def start(cases: list[BatchCase], out: Path, stages: str, workers: int = WORKERS) -> subprocess.Popen[str]:
    listed = out.with_suffix(".json")
    listed.write_text(json.dumps([c.model_dump() for c in cases]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)])}
    command = [sys.executable, str(HERE / "batch_driver.py"), str(listed), str(out), str(workers), stages]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    """Process ids whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def killed_after(cases: list[BatchCase], out: Path, stages: str, results: int) -> None:
    """Run the batch until some results are out, kill its driver, and wait until no worker is left."""
    driver = start(cases, out, stages)
    assert driver.stdout is not None
    for _ in range(results):
        assert driver.stdout.readline()
    workers = children(driver.pid)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.05)


def whole(cases: list[BatchCase], out: Path, stages: str) -> float:
    """Run the batch to its end; seconds."""
    started = time.monotonic()
    driver = start(cases, out, stages)
    driver.communicate(timeout=3000)
    assert driver.returncode == 0
    return time.monotonic() - started


def table(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [{k: v for k, v in row.items() if k not in ("seconds", "attempts")} for row in rows]


def slides(folder: Path, n: int, poisoned: int) -> list[BatchCase]:
    """`n` cases: copies of three small slides, the last `poisoned` of them cut short, unknown or no slide."""
    made = [write_slide(folder / f"made-{i}.tiff", paint(lesion=bool(i), seed=i)) for i in range(3)]
    cases = []
    for i in range(n):
        path = Path(shutil.copy(made[i % 3], folder / f"slide-{i:02}.tiff"))
        if i >= n - poisoned:
            path.write_bytes(path.read_bytes()[: (9000, 0, 40_000)[i % 3]])
        cases.append(case(f"case {i:02}", path))
    return cases


def check(tmp_path: Path, n: int, poisoned: int, stages: str) -> None:
    cases = slides(tmp_path, n, poisoned)
    out = tmp_path / "killed"
    killed_after(cases, out, stages, n // 4)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("cases/*/case.json")}
    killed_after(cases, out, stages, n // 4)
    seconds = whole(cases, out, stages)
    rows = all_rows(out)
    again = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    begun_twice = sum(row.attempts - 1 for row in rows.values())
    print(f"{n} cases, {poisoned} bad; done again {len(again)}; broken off and begun again {begun_twice}")
    print(f"the last part took {seconds:.0f} s")
    assert again == []
    assert begun_twice <= 2 * WORKERS
    assert len(rows) == n
    assert {row.state for row in rows.values()} == {"done", "failed"}
    assert sum(row.state == "failed" for row in rows.values()) == poisoned
    whole(cases, tmp_path / "whole", stages)
    assert table(out) == table(tmp_path / "whole")


@pytest.mark.slow
def test_a_batch_of_60_whose_driver_is_killed_twice_ends_in_the_same_table(tmp_path: Path) -> None:
    check(tmp_path, 60, 3, "triage,measure")
