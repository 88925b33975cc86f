"""`make bench-vlm`: the requests of one report, replayed to the vLLM server that answered them.

For prefix caching on and off, one server each: the seconds that the report spent in the model and its
prefix-cache hit rate; then all its requests at once, 1, 8 and 32 in flight, each time with empty caches.
Tokens are those that the model wrote. Client and server share the cores of this machine.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

import pathagent
from pathagent.commands.phantom import render_slide
from pathagent_tools.core.protocols import Completion, ModelRequest
from pathagent_tools.vlm.openai import OpenAIVLM
from pathagent_tools.vlm.profile import load_profile
from pathagent_tools.vlm.serving import Server, running_server

SEED = 7
IN_FLIGHT = (1, 8, 32)
COUNTER = re.compile(r"^vllm:prefix_cache_(queries|hits)_total\{[^}]*\} (\S+)", re.MULTILINE)


class Recorder(OpenAIVLM):
    """Keeps the requests of a run, and the seconds and tokens that they took."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.asked: list[ModelRequest] = []
        self.calls, self.seconds, self.tokens = 0, 0.0, 0

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        began = time.perf_counter()
        answers = super().generate(requests)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        self.asked.extend(requests)
        self.tokens += sum(answer.completion_tokens for answer in answers)
        return answers

    def row(self) -> dict[str, Any]:
        return {
            "requests": len(self.asked),
            "calls": self.calls,
            "model_seconds": round(self.seconds, 2),
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens / self.seconds, 1),
        }


def prefix_counters(server: Server) -> dict[str, float]:
    """Tokens that were looked up in the prefix cache, and tokens that were found there."""
    text = httpx.get(server.url.removesuffix("/v1") + "/metrics", trust_env=False).text
    return {name: float(value) for name, value in COUNTER.findall(text)}


def hit_rate(before: dict[str, float], after: dict[str, float]) -> float | None:
    """None where nothing was looked up: caching is off."""
    looked = after.get("queries", 0) - before.get("queries", 0)
    return round((after["hits"] - before["hits"]) / looked, 3) if looked else None


def empty_caches(server: Server) -> None:
    """Forget prefixes and images of earlier requests (routes of vLLM's development mode)."""
    for cache in ("prefix", "mm", "encoder"):
        address = f"{server.url.removesuffix('/v1')}/reset_{cache}_cache"
        httpx.post(address, timeout=60, trust_env=False).raise_for_status()


def measured(slide: Path, log: Path, *, prefix_caching: bool) -> dict[str, Any]:
    """One server: a report, then its requests replayed."""
    profile = load_profile("embedded")
    options = {"tile_px": profile.vlm.tile_px, "tile_mpp": profile.vlm.tile_mpp}
    with running_server(profile, log=log, prefix_caching=prefix_caching) as server:
        run = Recorder(server.url, **options)
        began, before = time.perf_counter(), prefix_counters(server)
        pathagent.draft_report(slide, vlm=run)
        report = run.row() | {
            "run_seconds": round(time.perf_counter() - began, 2),
            "prefix_hit_rate": hit_rate(before, prefix_counters(server)),
        }
        replay = {}
        for in_flight in IN_FLIGHT:
            empty_caches(server)
            before = prefix_counters(server)
            again = Recorder(server.url, concurrency=in_flight, **options)
            again.generate(run.asked)
            rate = hit_rate(before, prefix_counters(server))
            replay[in_flight] = again.row() | {"prefix_hit_rate": rate}
    return {"report": report, "replay": replay}


def main() -> None:
    """Measure with and without prefix caching and print one JSON table."""
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["PATHAGENT_CACHE"] = str(place / "cache")
        slide = render_slide(place, seed=SEED)
        for name, caching in (("prefix caching on", True), ("prefix caching off", False)):
            table[name] = measured(slide, place / "log", prefix_caching=caching)
            print(name, json.dumps(table[name]), flush=True)
    print(json.dumps({"cores": os.cpu_count(), **table}, indent=2))


if __name__ == "__main__":
    main()
