"""A slide decoder behind a wall: one child process with a memory limit and a time limit a call.

The child is a plain interpreter and answers in JSON and raw bytes (see `child`).
"""

from __future__ import annotations

import json
import subprocess
import threading
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import Field

from pathagent_tools.core.errors import DamagedSlideError, SlideError, SlideMemoryError, SlideTimeoutError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.slides.child import death, end_child, start_child

CONVERT: Final = "vips tiffsave"
CONVERT_OPTIONS: Final = "--tile --pyramid --compression jpeg"
_DECODER: Final = "pathagent_tools.slides.decoder"


class Limits(Frozen):
    """What decoding one slide may cost."""

    memory_mb: int = Field(default=4096, ge=256, description="address space of the decoding process, MiB")
    seconds: float = Field(default=120.0, gt=0, description="time limit of one call")
    max_pixels: int = Field(default=100_000_000, gt=0, description="largest picture returned by one call")


class GuardedReader:
    """Owns the child process of one slide. Thread-safe: calls wait for one another.

    After the child dies or is killed for being late, the next call starts a new one.
    """

    def __init__(self, path: Path, *, name: str, limits: Limits) -> None:
        self.path, self.name, self.limits = path, name, limits
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._finalizer: weakref.finalize | None = None
        self._closed = False

    def facts(self) -> dict[str, Any]:
        """OpenSlide properties, level sizes and downsamples. Raises SlideError."""
        return self._call({"do": "open"}, "opening it")[0]

    def read(self, x: int, y: int, width: int, height: int, *, out: tuple[int, int]) -> Image:
        """Level-0 rectangle → uint8 RGB [out_height, out_width, 3]. Raises SlideError."""
        if out[0] * out[1] > self.limits.max_pixels:
            raise SlideError(
                f"{out[0]} × {out[1]} px are more than one read may return ({self.limits.max_pixels:,}). "
                f"Ask for a smaller region or a larger mpp."
            )
        request = {"do": "read", "x": x, "y": y, "width": width, "height": height}
        request |= {"out_width": out[0], "out_height": out[1]}
        where = f"reading {width} × {height} px at ({x}, {y})"
        answer, pixels = self._call(request, where)
        got_w, got_h = answer["size"]
        if (got_w, got_h) != out or len(pixels) != 3 * got_w * got_h:
            self.close()
            raise SlideError(f"{self.name}: the decoder gave a picture of the wrong size after {where}.")
        return np.frombuffer(pixels, np.uint8).reshape(got_h, got_w, 3)

    def close(self) -> None:
        """End the child process; later calls raise SlideError."""
        with self._lock:
            self._closed = True
            self._stop()

    def _call(self, request: dict[str, Any], doing: str) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            if self._closed:
                raise SlideError(f"{self.name} is closed. Open it again with open_slide(...).")
            pipe = self._pipe or self._start()
            try:
                pipe.send_bytes(json.dumps(request).encode())
                answer = json.loads(self._receive(pipe, doing, 1 << 26))
                pixels = b""
                if "size" in answer:
                    pixels = self._receive(pipe, doing, 3 * self.limits.max_pixels)
            except (EOFError, OSError):
                code = self._stop()
                raise DamagedSlideError(
                    f"{self.name} broke its decoder while {doing} ({death(code)}): the file is damaged "
                    f"or needs more than {self.limits.memory_mb} MB. Copy or export the slide again."
                ) from None
        if "error" in answer:
            raise self._refusal(answer, doing)
        return answer, pixels

    def _receive(self, pipe: Connection, doing: str, limit: int) -> bytes:
        if not pipe.poll(self.limits.seconds):
            self._stop()
            raise SlideTimeoutError(
                f"{self.name}: {doing} took longer than {self.limits.seconds:g} s and was stopped. "
                f"The file is damaged or its storage is too slow: copy it to a local disk."
            )
        return pipe.recv_bytes(limit)

    def _refusal(self, answer: dict[str, Any], doing: str) -> SlideError:
        if answer.get("unsupported"):
            return UnsupportedSlideError(
                f"{self.name} is not a slide format that OpenSlide reads. "
                f"Convert it, for example: {CONVERT} {self.name} slide.tiff {CONVERT_OPTIONS}"
            )
        said = " ".join(str(answer["error"]).split())[:200]
        if answer.get("memory"):
            return SlideMemoryError(f"{self.name}: {doing} failed: {said}. Use a machine with more memory.")
        return DamagedSlideError(
            f"{self.name} is damaged: {doing} failed ({said}). Copy or export the slide again."
        )

    def _start(self) -> Connection:
        self._child, ours = start_child(_DECODER, [str(self.path), str(self.limits.memory_mb)])
        self._pipe = ours
        self._finalizer = weakref.finalize(self, end_child, self._child, ours)
        return ours

    def _stop(self) -> int | None:
        """Kill the child if there is one; its exit status."""
        if self._finalizer is None or self._child is None:
            return None
        self._finalizer()
        code = self._child.returncode
        self._child = self._pipe = self._finalizer = None
        return code


class UnsupportedSlideError(SlideError):
    """A readable file in a format that OpenSlide does not know."""
