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
HANGS_S = 120
"""What a case may take: far more than any does that does not hang."""


def start(cases: list[BatchCase], out: Path, engine: str) -> subprocess.Popen[str]:
    listed = out.with_suffix(".json")
    listed.write_text(json.dumps([c.model_dump() for c in cases]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)])}
    how = [str(WORKERS), "triage,measure", str(HANGS_S), engine]
    command = [sys.executable, str(HERE / "batch_driver.py"), str(listed), str(out), *how]
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


def killed_after(cases: list[BatchCase], out: Path, engine: str, results: int) -> None:
    """Run the batch until some results are out, kill its driver, and wait until no worker is left."""
    driver = start(cases, out, engine)
    assert driver.stdout is not None
    for _ in range(results):
        assert driver.stdout.readline()
    workers = children(driver.pid)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.05)


def whole(cases: list[BatchCase], out: Path, engine: str) -> float:
    """Run the batch to its end; seconds."""
    started = time.monotonic()
    driver = start(cases, out, engine)
    driver.communicate(timeout=3000)
    assert driver.returncode == 0
    return time.monotonic() - started


def table(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [{k: v for k, v in row.items() if k not in ("seconds", "attempts")} for row in rows]


POISON = {
    "abort": ("aborted",),
    "hang": ("timeout",),
    "greedy": ("out of memory",),
    "cut": ("damaged",),
    "nompp": ("no resolution",),
}
"""Beginning of a case's name → what its row must say."""


def slides(folder: Path, n: int) -> list[BatchCase]:
    """`n` cases, copies of three small slides; one in twenty is poison, of every kind as often."""
    made = [write_slide(folder / f"made-{i}.tiff", paint(lesion=bool(i), seed=i)) for i in range(3)]
    bare = write_slide(folder / "made-bare.tiff", paint(lesion=False), mpp=None)
    cases = []
    for i in range(n):
        name, source = f"case {i:03}", made[i % 3]
        if i % 20 == 10:
            kind = list(POISON)[i // 20 % len(POISON)]
            name, source = f"{kind} {i:03}", bare if kind == "nompp" else source
        path = Path(shutil.copy(source, folder / f"slide-{i:03}.tiff"))
        if name.startswith("cut"):
            path.write_bytes(path.read_bytes()[:9000])
        cases.append(case(name, path))
    return cases


def check(tmp_path: Path, n: int, kills: int, engine: str) -> None:
    """Killed again and again, the batch ends in the table of one that was left alone."""
    cases = slides(tmp_path, n)
    out = tmp_path / "killed"
    stamps: dict[Path, int] = {}
    for _ in range(kills):
        killed_after(cases, out, engine, n // (kills + 2))
        stamps = {path: path.stat().st_mtime_ns for path in out.glob("cases/*/case.json")} | stamps
    whole(cases, out, engine)
    rows = all_rows(out)
    again = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    begun_twice = sum(row.attempts - 1 for row in rows.values())
    print(f"{n} cases on {engine}, killed {kills} times: {len(again)} done again, {begun_twice} broken off")
    assert len(rows) == n
    assert len(again) < 0.02 * n
    assert begun_twice <= kills * WORKERS
    for name, row in rows.items():
        kinds = POISON.get(name.split()[0])
        assert (row.state, row.result.kind if row.result else "") in [
            ("failed", kind) for kind in kinds or ()
        ] + ([] if kinds else [("done", "")])
    seconds = whole(cases, tmp_path / "whole", engine)
    print(f"left alone it took {seconds:.0f} s")
    assert table(out) == table(tmp_path / "whole")


def test_a_worker_whose_first_case_hangs_ends_with_its_driver(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "made.tiff", paint(lesion=False))
    killed_after([case("hang", slide), case("A", slide)], tmp_path / "out", "local", 1)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_300_slides_one_in_twenty_bad_and_a_driver_that_is_killed_five_times(
    tmp_path: Path, engine: str
) -> None:
    check(tmp_path, 300, 5, engine)
