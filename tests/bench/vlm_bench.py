"""`make bench-vlm`: whole reports through a vLLM server, against a load generator on the same server.

For prefix caching on, and off at the second number in flight, one server each, on a core of its own.
Reports of small phantoms are drafted with 1, 8 and 32 requests in flight at most; the bodies that they
sent are then sent again, already serialised, as fast as the server takes them: once in the waves in which
the graph sent them (a wave ends where the next question depends on its answers), once all at once.
`of_the_generator` is the generator's seconds over the graph's seconds in the model, caches empty before
each. The rest of a run is listed by step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import pathagent
from pathagent.commands.phantom import render_slide
from pathagent.events import Event
from pathagent_tools.core.protocols import Completion, ModelRequest
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.vlm.adapters import adapter_names
from pathagent_tools.vlm.openai import OpenAIVLM
from pathagent_tools.vlm.profile import Profile, load_profile
from pathagent_tools.vlm.serving import Server, running_server

FIRST_SEED = 7
IN_FLIGHT = (1, 8, 32)
COUNTER = re.compile(r"^vllm:prefix_cache_(queries|hits)_total\{[^}]*\} (\S+)", re.MULTILINE)
NODE_OF = {
    "describe": "description", "navigate": "navigation", "diagnose": "diagnosis", "judge": "diagnosis",
    "write": "write", "verify": "verify",
}  # fmt: skip

Wave = list[dict[str, Any]]


class Recorder(OpenAIVLM):
    """Keeps what a run sends, when, and how long it waits for it."""

    def __init__(self, url: str, profile: Profile, concurrency: int) -> None:
        spec = profile.vlm
        super().__init__(
            url,
            adapters=adapter_names(spec.adapters),
            tile_px=spec.tile_px,
            tile_mpp=spec.tile_mpp,
            concurrency=concurrency,
        )
        self.calls: list[tuple[float, float]] = []
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.in_model: dict[str, float] = defaultdict(float)
        self.prompt_tokens, self.tokens = 0, 0
        post = self._server.post
        self._server.post = lambda path, body: self._post(post, path, body)  # type: ignore[method-assign]

    def _post(self, post: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.sent.append((time.perf_counter(), body))
        return post(path, body)  # type: ignore[no-any-return]

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        began = time.perf_counter()
        answers = super().generate(requests)
        ended = time.perf_counter()
        self.calls.append((began, ended))
        self.in_model[NODE_OF[requests[0].role]] += ended - began
        self.prompt_tokens += sum(answer.prompt_tokens for answer in answers)
        self.tokens += sum(answer.completion_tokens for answer in answers)
        return answers

    def waves(self) -> list[tuple[float, Wave]]:
        """(seconds, bodies) of each stretch of time in which the run waited for the model."""
        merged: list[list[float]] = []
        for began, ended in sorted(self.calls):
            if merged and began <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], ended)
            else:
                merged.append([began, ended])
        return [
            (ended - began, [body for at, body in self.sent if began <= at <= ended])
            for began, ended in merged
        ]


class Steps:
    """Seconds of the graph's nodes; branches that ran together count as long as the longest of them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._together: list[float] = []

    def __call__(self, event: Event) -> None:
        if event.kind != "node_finished":
            return
        if event.node == "description":
            self._together.append(event.seconds)
            return
        self.seconds["description"] += max(self._together, default=0.0)
        self._together.clear()
        self.seconds[event.node] += event.seconds


def graph(slides: Sequence[Path], server: Server, profile: Profile, concurrency: int) -> dict[str, Any]:
    """Every slide's report, one after the other; rows of the table, and what was sent."""
    encoder, steps = load_encoder(profile.encoder), Steps()
    vlm = Recorder(server.url, profile, concurrency)
    before, began = prefix_counters(server), time.perf_counter()
    said = [_diagnosis(pathagent.draft_report(s, vlm=vlm, encoder=encoder, progress=steps)) for s in slides]
    seconds = time.perf_counter() - began
    vlm.close()
    waves = vlm.waves()
    in_model = sum(duration for duration, _ in waves)
    by_step = {node: round(s - min(s, vlm.in_model[node]), 2) for node, s in steps.seconds.items()}
    by_step["opening, checkpoints, overview"] = round(seconds - sum(steps.seconds.values()), 2)
    return {
        "run_seconds": round(seconds, 2),
        "model_seconds": round(in_model, 2),
        "requests": len(vlm.sent),
        "prompt_tokens": vlm.prompt_tokens,
        "tokens": vlm.tokens,
        "tokens_per_second": round(vlm.tokens / in_model, 1),
        "prefix_hit_rate": hit_rate(before, prefix_counters(server)),
        "outside_the_model_by_step": {k: v for k, v in by_step.items() if v >= 0.01},
        "diagnoses": said,
        "waves": [bodies for _, bodies in waves],
    }


def _diagnosis(report: Any) -> str:
    drafted = report.outcome == "report" and report.differential
    return str(report.differential[0].text if drafted else report.outcome)


def generator(waves: Sequence[Wave], server: Server, in_flight: int) -> float:
    """Seconds in which a client that only sends and receives gets the same bodies answered."""
    return asyncio.run(
        _generate([[json.dumps(b).encode() for b in wave] for wave in waves], server, in_flight)
    )


async def _generate(waves: Sequence[Sequence[bytes]], server: Server, in_flight: int) -> float:
    gate = asyncio.Semaphore(in_flight)
    headers = {"content-type": "application/json"}
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(timeout=600, trust_env=False, limits=limits, headers=headers) as client:

        async def send(body: bytes) -> None:
            async with gate:
                answer = await client.post(f"{server.url}/chat/completions", content=body)
                answer.raise_for_status()

        began = time.perf_counter()
        for wave in waves:
            await asyncio.gather(*(send(body) for body in wave))
        return time.perf_counter() - began


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


def measured(slides: Sequence[Path], server: Server, profile: Profile, in_flight: int) -> dict[str, Any]:
    """The graph, then the generator in the graph's waves and all at once, each from empty caches."""
    empty_caches(server)
    row = graph(slides, server, profile, in_flight)
    waves: list[Wave] = row.pop("waves")
    empty_caches(server)
    in_waves = generator(waves, server, in_flight)
    empty_caches(server)
    at_once = generator([[body for wave in waves for body in wave]], server, in_flight)
    return row | {
        "waves": len(waves),
        "generator_in_waves": {
            "seconds": round(in_waves, 2),
            "of_the_generator": round(in_waves / row["model_seconds"], 3),
        },
        "generator_at_once": {
            "seconds": round(at_once, 2),
            "of_the_generator": round(at_once / row["model_seconds"], 3),
        },
    }


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What this process does and starts meanwhile stays on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[core % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def served(profile: Profile, log: Path, *, prefix_caching: bool) -> Iterator[Server]:
    """A server on the second core."""
    context = running_server(profile, log=log, prefix_caching=prefix_caching)
    with on_core(1):
        server = context.__enter__()
    try:
        yield server
    finally:
        context.__exit__(None, None, None)


def main() -> None:
    """Measure with and without prefix caching and print one JSON table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--slides", type=int, default=2)
    options.add_argument("--in-flight", type=int, nargs="*", default=IN_FLIGHT)
    options.add_argument("--profile", default="embedded")
    given = options.parse_args()
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"
    profile, table = load_profile(given.profile), dict[str, dict[int, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["PATHAGENT_CACHE"] = str(place / "cache")
        slides = []
        for seed in range(FIRST_SEED, FIRST_SEED + given.slides):
            (place / str(seed)).mkdir()
            slides.append(render_slide(place / str(seed), seed=seed))
        for name, caching, counts in (
            ("prefix caching on", True, given.in_flight),
            ("prefix caching off", False, given.in_flight[1:2]),
        ):
            table[name] = {}
            with served(profile, place / "log", prefix_caching=caching) as server, on_core(0):
                graph(slides[:1], server, profile, 8)  # the first requests of a server find nothing warm
                for n in counts:
                    table[name][n] = measured(slides, server, profile, n)
                    print(name, n, json.dumps(table[name][n]), file=sys.stderr, flush=True)
    print(json.dumps({"cores": os.cpu_count(), "slides": given.slides, **table}, indent=2))


if __name__ == "__main__":
    main()
