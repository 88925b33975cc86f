"""Tiles of a slide as a stream of batches, read by several processes into memory that is shared with them.

Each process reads chunks of neighbouring tiles in the order of the file's own tiling, a few batches ahead
and no more, so memory depends on the number of processes and not on the slide. A process that dies, hangs
or needs too much memory ends as one `SlideError`.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import subprocess
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import DamagedSlideError, SlideError, SlideMemoryError, SlideTimeoutError
from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.slides.child import death, end_child, start_child
from pathagent_tools.slides.slide import Slide
from pathagent_tools.slides.tile_worker import Job

Resampling = Literal["exact", "reduced"]
"""`exact`: the pixels of `Slide.read`. `reduced`: averaged by 2, 4 or 8 first (mostly inside the JPEG
decoder, at no cost), then resized likewise: 0.7 grey levels from an average of OpenSlide's pixels."""

BATCH: Final = 64
CHUNK: Final = 1024
"""Tiles that one process reads in a row, and the grain of what a resumed run need not read again."""
STRIP_PX: Final = 16_384
"""Level-0 width of the strips in which a slide is read: two rows of file tiles of a strip fit the cache."""
_AHEAD: Final = 2  # batches that a process is asked for before the first is taken
_SLOTS: Final = _AHEAD + 1
_MODULE: Final = "pathagent_tools.slides.tile_worker"


class Batch(NamedTuple):
    """`indices` [n]: which coordinates. `tiles` uint8 [n, tile_px, tile_px, 3], valid until the next batch.

    `chunk`: which part of the reading order they belong to; `last` of its batches.
    """

    chunk: int
    indices: NDArray[np.intp]
    tiles: NDArray[np.uint8]
    last: bool


@dataclass
class ReadingStats:
    """What reading took. `decoded`: the file's JPEG tiles; `by_openslide`: tiles that OpenSlide read."""

    tiles: int = 0
    decoded: int = 0
    by_openslide: int = 0
    waited: float = 0.0


class _Asked(NamedTuple):
    slot: int
    chunk: int
    indices: NDArray[np.intp]
    last: bool


@dataclass(eq=False)
class _Worker:
    """One child process, the memory that it fills, and what it has been asked for."""

    child: subprocess.Popen[bytes]
    pipe: Connection
    memory_fd: int
    tiles: NDArray[np.uint8]
    asked: deque[_Asked] = field(default_factory=deque)
    free: list[int] = field(default_factory=lambda: list(range(_SLOTS)))
    left: deque[tuple[int, NDArray[np.intp], bool]] = field(default_factory=deque)
    since: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)


def reading_order(coords: NDArray[np.int64]) -> NDArray[np.intp]:
    """The order in which tiles [N, 2] are read: strip by strip, in each row by row."""
    return np.asarray(np.lexsort((coords[:, 0], coords[:, 1], coords[:, 0] // STRIP_PX)), np.intp)


class TileReader:
    """Reads tiles of `spec` at level-0 corners `coords` [N, 2]. Use it as a context manager, then iterate.

    workers: processes. direct: take the file's own JPEG tiles where that is possible (see `jpeg_tiles`).
    Iterating gives `Batch`es in no fixed order; every tile comes once. Raises SlideError.
    """

    def __init__(
        self,
        slide: Slide,
        coords: NDArray[np.int64],
        spec: TileSpec,
        *,
        workers: int = 1,
        resampling: Resampling = "exact",
        direct: bool = True,
        batch: int = BATCH,
    ) -> None:
        self.slide, self.coords, self.spec = slide, coords, spec
        self.order = reading_order(coords)
        self.chunks = math.ceil(len(coords) / CHUNK)
        self.stats = ReadingStats()
        side = round(spec.size_level0(slide.mpp))
        self._job: dict[str, Any] = {
            "side": side,
            "out": max(1, round(side * slide.mpp / spec.mpp)),
            "tile_px": spec.tile_px,
            "exact": resampling == "exact",
            "direct": direct,
            "batch": batch,
            "slots": _SLOTS,
        }
        self._count = max(1, min(workers, self.chunks))
        self._workers: list[_Worker] = []

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def batches(self, done: Collection[int] = ()) -> Iterator[Batch]:
        """All batches but those of the chunks in `done`."""
        waiting = deque(c for c in range(self.chunks) if c not in done)
        while len(self._workers) < min(self._count, len(waiting)):
            self._workers.append(self._start())
        for worker in self._workers:
            self._ask(worker, waiting)
        while busy := [w for w in self._workers if w.asked]:
            for worker in self._answered(busy):
                asked = self._take(worker)
                yield Batch(
                    asked.chunk, asked.indices, worker.tiles[asked.slot, : len(asked.indices)], asked.last
                )
                worker.free.append(asked.slot)
                self._ask(worker, waiting)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            end_child(worker.child, worker.pipe)
            os.close(worker.memory_fd)
        self._workers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> _Worker:
        shape = (_SLOTS, self._job["batch"], self.spec.tile_px, self.spec.tile_px, 3)
        fd = os.memfd_create("tiles")
        os.ftruncate(fd, math.prod(shape))
        tiles = np.frombuffer(mmap.mmap(fd, math.prod(shape)), np.uint8).reshape(shape)
        job = Job(**self._job, memory_fd=fd)
        arguments = [str(self.slide.path), str(self.slide.limits.memory_mb), json.dumps(asdict(job))]
        child, pipe = start_child(_MODULE, arguments, share=[fd])
        return _Worker(child, pipe, fd, tiles)

    def _ask(self, worker: _Worker, waiting: deque[int]) -> None:
        """Keep a process busy: the next batches of its chunk, or of a new one."""
        while worker.free and len(worker.asked) < _AHEAD:
            if not worker.left:
                if not waiting:
                    return
                worker.left.extend(self._batches_of(waiting.popleft()))
            chunk, indices, last = worker.left.popleft()
            slot = worker.free.pop()
            xs, ys = self.coords[indices].T.tolist()
            if not worker.asked:
                worker.since = time.monotonic()
            worker.asked.append(_Asked(slot, chunk, indices, last))
            try:
                worker.pipe.send_bytes(json.dumps({"slot": slot, "xs": xs, "ys": ys}).encode())
            except OSError:
                raise self._died(worker) from None

    def _batches_of(self, chunk: int) -> Iterator[tuple[int, NDArray[np.intp], bool]]:
        members = self.order[chunk * CHUNK : (chunk + 1) * CHUNK]
        for start in range(0, len(members), self._job["batch"]):
            end = start + self._job["batch"]
            yield chunk, members[start:end], end >= len(members)

    def _answered(self, busy: list[_Worker]) -> list[_Worker]:
        """Processes that have something to say. SlideTimeoutError where one has been silent too long."""
        limit, began = self.slide.limits.seconds, time.monotonic()
        ready = wait([w.pipe for w in busy], max(0.01, min(w.since for w in busy) + limit - began))
        self.stats.waited += time.monotonic() - began
        if not ready:
            raise SlideTimeoutError(
                f"{self.slide.name}: reading a batch of tiles took longer than {limit:g} s and was stopped. "
                "The file is damaged or its storage is too slow: copy it to a local disk."
            )
        return [w for w in busy if w.pipe in ready]

    def _take(self, worker: _Worker) -> _Asked:
        try:
            answer = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            raise self._died(worker) from None
        asked = worker.asked.popleft()
        worker.since = time.monotonic()
        if "error" in answer:
            raise self._refused(answer)
        worker.counts = answer
        self.stats.tiles += len(asked.indices)
        self.stats.decoded = sum(w.counts.get("decoded", 0) for w in self._workers)
        self.stats.by_openslide = sum(w.counts.get("by_openslide", 0) for w in self._workers)
        return asked

    def _refused(self, answer: dict[str, Any]) -> SlideError:
        said = " ".join(str(answer["error"]).split())[:200]
        if answer.get("memory"):
            return SlideMemoryError(f"{self.slide.name}: reading tiles failed: {said}. Use fewer --workers.")
        return DamagedSlideError(
            f"{self.slide.name} is damaged: reading tiles failed ({said}). Copy or export the slide again."
        )

    def _died(self, worker: _Worker) -> SlideError:
        end_child(worker.child, worker.pipe)
        how, limit = death(worker.child.returncode), self.slide.limits.memory_mb
        return DamagedSlideError(
            f"{self.slide.name} broke its decoder while reading tiles ({how}): the file is damaged "
            f"or needs more than {limit} MB. Copy or export the slide again."
        )
