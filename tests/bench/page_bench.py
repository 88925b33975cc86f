"""`make bench-page`: what a reader of the chat page waits for, and what the server holds on to.

Starts the server of `pathagent serve` with the embedded models on a small phantom, and speaks to its API as
the page does. First evidence is the first event `looked` on the stream after a question was sent, on a warm
server: of a slide that nobody has scanned yet, and of the same slide in a second case, whose features lie in
the cache. Tiles are whole HTTP requests of one reader, first from the slide, then from the server's memory;
the readers side by side fetch tiles of a copy of the slide. Memory is resident memory of the server, and of
its slide decoders beside it. Seconds differ between machines and grow with what else runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

API = "/api/v1"
SEED = 7
READERS, TILES_EACH = 8, 40
WARM_S = 8
"""After the models are loaded the server makes the first call of each."""
PATHAGENT = [sys.executable, "-m", "pathagent.cli"]
QUESTIONS = (
    "Is invasive tumour present?",
    "Is necrosis present?",
    "What is the nuclear grade?",
    "Is there an inflammatory infiltrate?",
    "Are mitoses seen?",
    "Is the tumour HER2 positive?",
)


class Page:
    """A reader of the served page: signed in by the printed link."""

    def __init__(self, link: str) -> None:
        self.client = httpx.Client(base_url=link.partition("/enter")[0], timeout=120, follow_redirects=True)
        found = re.search(r'name="csrf" content="(\w+)"', self.client.get(link).text)
        assert found, "the link does not let in"
        self.client.headers["x-csrf-token"] = found[1]

    def get(self, path: str) -> Any:
        """The JSON at an address of the API."""
        return self.client.get(API + path).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        """What the API answers."""
        return self.client.post(API + path, json=body).raise_for_status().json()

    def wait(self, done: Callable[[], bool], limit_s: float = 900.0) -> None:
        """Until it is so."""
        end = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > end:
                raise SystemExit("The server did not get there in time.")
            time.sleep(0.1)

    def settle(self, case: str) -> None:
        """Until nothing is at work on the case."""
        self.wait(lambda: self.get(f"/cases/{case}")["state"] != "at work")

    def first_look(self, case: str, question: str) -> float:
        """Seconds from sending a question to the first look on the case's stream of events."""
        after = self.get(f"/cases/{case}")["newest_event"]
        with self.client.stream("GET", f"{API}/cases/{case}/events?after={after}") as stream:
            lines = stream.iter_lines()
            next(lines)  # the line is open
            start = time.perf_counter()
            self.post(f"/cases/{case}/questions", {"question": question})
            for line in lines:
                if line.startswith("data: ") and json.loads(line[6:])["kind"] == "looked":
                    return time.perf_counter() - start
        raise SystemExit("The stream of events ended without a look.")


@contextmanager
def served(place: Path) -> Iterator[tuple[Page, int]]:
    """(a reader, process id) of a server whose models are loaded."""
    command = [*PATHAGENT, "serve", "--folder", str(place / "slides"), "--data", str(place / "data")]
    server = subprocess.Popen(
        [*command, "--port", "0"],
        env={**os.environ, "PATHAGENT_CACHE": str(place / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        page = Page(server.stdout.readline().strip())
        page.wait(lambda: "revision" in page.get("/settings")["roles"]["looks and writes"])
        time.sleep(WARM_S)
        yield page, server.pid
    finally:
        server.terminate()
        server.wait(60)


def make_slides(place: Path) -> None:
    """Two files of one small phantom."""
    made = ["phantom", "make", "-o", str(place / "phantom"), "--size", "small", "--seed", str(SEED)]
    subprocess.run([*PATHAGENT, *made], check=True, stdout=subprocess.DEVNULL)
    (place / "slides").mkdir()
    for name in ("first.tiff", "copy.tiff"):
        shutil.copy(place / "phantom" / "slide.tiff", place / "slides" / name)


def resident(pid: int) -> tuple[float, float]:
    """Resident MiB of a process, and of all that it has started."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss="], stdout=subprocess.PIPE, text=True, check=True
    )
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    family, own = {pid}, 0.0
    for _ in rows:
        grown = family | {p for p, parent, _ in rows if parent in family}
        if grown == family:
            break
        family = grown
    own = sum(kib for p, _, kib in rows if p == pid) / 1024
    return own, sum(kib for p, _, kib in rows if p in family) / 1024 - own


def tile_addresses(page: Page, slide: str) -> list[str]:
    """Every tile of a slide from the level at which one tile shows all of it, in a fixed random order."""
    size = page.get(f"/slides/{slide}")
    top = max(0, math.ceil(math.log2(max(size["width"], size["height"]))))
    found = []
    for level in range(min(8, top), top + 1):
        across, below = (math.ceil(size[side] / 2 ** (top - level) / 256) for side in ("width", "height"))
        found += [
            f"{API}/slides/{slide}/slide_files/{level}/{x}_{y}.jpeg"
            for x in range(across)
            for y in range(below)
        ]
    random.Random(SEED).shuffle(found)
    return found


def fetch(page: Page, addresses: list[str]) -> tuple[list[float], int]:
    """(milliseconds of each, number that did not come)."""
    times, errors = [], 0
    for address in addresses:
        start = time.perf_counter()
        try:
            errors += page.client.get(address).status_code != 200
        except httpx.HTTPError:
            errors += 1
        times.append(1000 * (time.perf_counter() - start))
    return times, errors


def side_by_side(link: Page, slide: str) -> tuple[list[float], int]:
    """Readers at once, each with tiles of their own choice."""
    known = tile_addresses(link, slide)
    with ThreadPoolExecutor(READERS) as pool:
        jobs = [pool.submit(fetch, link, random.Random(i).sample(known, TILES_EACH)) for i in range(READERS)]
        results = [job.result() for job in jobs]
    return [t for times, _ in results for t in times], sum(errors for _, errors in results)


def spread(times: list[float], errors: int) -> dict[str, float]:
    """p50 and p95 in milliseconds, how many, how many failed."""
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50_ms": round(p50, 1), "p95_ms": round(p95, 1), "tiles": len(times), "errors": errors}


def tell(name: str, found: dict[str, float]) -> None:
    """One line of the table."""
    print(f"{name:<34}" + "  ".join(f"{k} {v:g}" for k, v in found.items()), flush=True)


def evidence_rows(page: Page, slide: str) -> tuple[dict[str, dict[str, float]], str]:
    """(seconds to the first evidence, the second case) of two cases of one slide."""
    rows, case = {}, ""
    for name in ("first evidence, slide not scanned", "first evidence, slide scanned"):
        case = page.post("/cases", {"slides": [slide]})["id"]
        rows[name] = {"seconds": round(page.first_look(case, QUESTIONS[0]), 2)}
        tell(name, rows[name])
        page.settle(case)
    return rows, case


def tile_rows(page: Page, first: str, copy: str) -> dict[str, dict[str, float]]:
    """Tiles of one reader, twice, and of readers side by side."""
    known, rows = tile_addresses(page, first), {}
    for name in ("tiles, one reader", "tiles, one reader, again"):
        rows[name] = spread(*fetch(page, known))
        tell(name, rows[name])
    name = f"tiles, {READERS} readers × {TILES_EACH}"
    rows[name] = spread(*side_by_side(page, copy))
    tell(name, rows[name])
    return rows


def memory_rows(page: Page, pid: int, case: str, questions: int) -> dict[str, dict[str, float]]:
    """Resident MiB before, on the way and after questions to one case."""
    rows: dict[str, dict[str, float]] = {}
    start, shown = time.perf_counter(), {round(questions * part / 4) for part in range(5)}
    for asked in range(questions + 1):
        if asked:
            page.post(f"/cases/{case}/questions", {"question": QUESTIONS[asked % len(QUESTIONS)]})
            page.settle(case)
        if asked in shown:
            server, decoders = resident(pid)
            name = f"memory after {asked} questions"
            rows[name] = {"server_mib": round(server), "decoders_mib": round(decoders)}
            rows[name]["seconds"] = round(time.perf_counter() - start, 1)
            tell(name, rows[name])
    return rows


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=30, help="asked of one case, for its memory")
    questions = parser.parse_args().questions
    print(f"load at the start {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_slides(place)
        with served(place) as (page, pid):
            ids = {s["name"]: s["id"] for s in page.get("/slides")}
            rows, case = evidence_rows(page, ids["first.tiff"])
            rows |= tile_rows(page, ids["first.tiff"], ids["copy.tiff"])
            rows |= memory_rows(page, pid, case, questions)
    print(json.dumps({"questions": questions, "rows": rows}))


if __name__ == "__main__":
    main()
