"""The same batch on a Ray cluster: cases are tasks, the encoder may be actors, the VLM stands behind servers.

The driver gives each case to a node itself. So it knows, when a worker is gone, whether the case killed it
(one failed row) or the node went away (the case is given to another node).
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent.batches.case import CaseResult, Job
from pathagent.batches.engine import Work, failed
from pathagent_tools.core.errors import UserError

ATTEMPTS: Final = 3
"""Nodes that a case may lose before it counts as failed."""
PROBE_S: Final = 30.0
"""A node that has not answered by then is gone."""
TICK_S: Final = 1.0
_IMPORT: Final = "failed to import on the worker"
ROOM_S: Final = 120.0
"""How long a cluster may have no node with a CPU before the batch stops; the same call goes on."""


class SharedEncoder:
    """A SlideEncoder whose pixels are encoded by actors, where the GPUs are."""

    def __init__(self, actors: Sequence[Any], card: dict[str, Any]) -> None:
        self.actors = list(actors)
        self.id, self.revision = str(card["id"]), str(card["revision"])
        self.tile_px, self.tile_mpp = int(card["tile_px"]), float(card["tile_mpp"])
        self.dim = int(card["dim"])

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, tile_px, tile_px, 3] uint8 RGB → [N, dim], by one of the actors."""
        return self._ask("encode_tiles", tiles)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Phrases → [N, dim]."""
        return self._ask("encode_texts", list(texts))

    def _ask(self, name: str, given: Any) -> NDArray[np.float32]:
        actor = random.choice(self.actors)
        found: NDArray[np.float32] = _ray().get(getattr(actor, name).remote(given))
        return found


class EncoderActor:
    """Holds one encoder for many cases."""

    def __init__(self, profile: str) -> None:
        from pathagent_tools.encoders.registry import load_encoder
        from pathagent_tools.vlm.profile import load_profile

        self.encoder = load_encoder(load_profile(profile).encoder)

    def card(self) -> dict[str, Any]:
        """What a `SharedEncoder` says of itself. UserError where more is asked of it than vectors."""
        from pathagent_tools.encoders.tissue_map import head_of

        if head_of(self.encoder) is not None:
            raise UserError(
                f"Encoder {self.encoder.id!r} also maps tissue, which actors do not pass on, and it is "
                "small: leave --encoders out."
            )
        return {
            name: getattr(self.encoder, name) for name in ("id", "revision", "tile_px", "tile_mpp", "dim")
        }

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `SlideEncoder.encode_tiles`."""
        return self.encoder.encode_tiles(tiles)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `SlideEncoder.encode_texts`."""
        return self.encoder.encode_texts(texts)


@dataclass(frozen=True, slots=True)
class _Given:
    """A case at work: on which node, since when."""

    job: Job
    node: str
    since: float


class RayEngine:
    """Cases as tasks of one CPU each on a Ray cluster.

    workers: cases at once over the whole cluster; None: one a CPU. timeout_s: of one case. address: of a
    running cluster; None: RAY_ADDRESS, else one of this machine alone. encoders: actors that encode for all
    cases, each on a GPU where the cluster has some; 0: each worker has an encoder of its own.
    """

    def __init__(
        self,
        workers: int | None = None,
        timeout_s: float = 3600.0,
        *,
        address: str | None = None,
        encoders: int = 0,
    ) -> None:
        self.workers, self.timeout_s = workers, timeout_s
        self.address, self.encoders = address, encoders
        _ray()

    def run(
        self, jobs: Sequence[Job], work: Work, started: Callable[[Job], None]
    ) -> Iterator[tuple[Job, CaseResult]]:
        """As `Engine.run`. Raises UserError where the cluster cannot be reached or has no CPU left."""
        with self._connected() as ray:
            shared = self._shared(jobs)
            task = ray.remote(num_cpus=1, max_retries=0)(work if shared is None else _with(work, shared))
            waiting, running, losses = list(reversed(jobs)), dict[Any, _Given](), dict[str, int]()
            try:
                while waiting or running:
                    while waiting and (node := self._free(running)):
                        job = waiting.pop()
                        if job.case.name not in losses:
                            started(job)
                        ref = task.options(scheduling_strategy=_on(node)).remote(job)
                        running[ref] = _Given(job, node, time.monotonic())
                    for ref in self._ended(running):
                        given = running.pop(ref)
                        result = self._result(ref, given)
                        if result is None:
                            name = given.job.case.name
                            losses[name] = losses.get(name, 0) + 1
                            if losses[name] < ATTEMPTS:
                                waiting.append(given.job)
                                continue
                            reason = f"It was begun {ATTEMPTS} times, and each time its node went away."
                            result = failed(given.job, "node lost", reason)
                        yield given.job, result
            finally:
                for ref in running:
                    ray.cancel(ref, force=True)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Ray, connected. A cluster that this call started ends with it."""
        ray = _ray()
        ours = not ray.is_initialized()
        if ours:
            try:
                ray.init(
                    address=self.address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = self.address or os.environ.get("RAY_ADDRESS") or "this machine"
                raise UserError(
                    f"No Ray cluster answers at {where}: {error} Start one with: ray start --head"
                ) from None
        try:
            yield ray
        finally:
            if ours:
                ray.shutdown()

    def _shared(self, jobs: Sequence[Job]) -> SharedEncoder | None:
        if not self.encoders or not jobs:
            return None
        ray, profile = _ray(), jobs[0].settings.profile
        on = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 0}
        actor = ray.remote(**on, max_restarts=-1, max_task_retries=-1)(EncoderActor)
        actors = [actor.remote(profile) for _ in range(self.encoders)]
        try:
            return SharedEncoder(actors, ray.get(actors[0].card.remote()))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def _free(self, running: dict[Any, _Given]) -> str:
        """The node with most CPUs free, '' where none is; waits a while for a cluster without any."""
        if self.workers is not None and len(running) >= self.workers:
            return ""
        deadline = time.monotonic() + ROOM_S
        while not (room := _room(running)) and not running:
            if time.monotonic() > deadline:
                raise UserError("The Ray cluster has no node with a CPU. Add one, and type the same again.")
            time.sleep(TICK_S)
        return max(room, key=lambda name: room[name], default="")

    def _ended(self, running: dict[Any, _Given]) -> list[Any]:
        ready, _ = _ray().wait(list(running), timeout=TICK_S)
        late = [ref for ref, g in running.items() if time.monotonic() - g.since > self.timeout_s]
        return [*ready, *(ref for ref in late if ref not in ready)]

    def _result(self, ref: Any, given: _Given) -> CaseResult | None:
        """What came of a case; None where its node went away."""
        ray = _ray()
        if not ray.wait([ref], timeout=0)[0]:
            ray.cancel(ref, force=True)
            reason = f"It took longer than {self.timeout_s:g} s and was stopped. Allow more with --timeout."
            return failed(given.job, "timeout", reason)
        gone = (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError)
        try:
            result: CaseResult = ray.get(ref)
        except ray.exceptions.OutOfMemoryError:
            return failed(given.job, "out of memory", "The node ran out of memory. Use fewer --workers.")
        except gone:
            return None
        except ray.exceptions.RayTaskError as error:
            if _IMPORT in str(error.cause):
                raise UserError(
                    f"Node {given.node[:8]} of the cluster cannot import what this machine runs. Install the "
                    f"same pathagent there. ({str(error.cause).splitlines()[-1]})"
                ) from None
            return failed(given.job, "our fault", f"{type(error.cause).__name__}: {error.cause}")
        except ray.exceptions.RayError:
            if not _answers(given.node):
                return None
            reason = "The worker died on this case. Try: pathagent report on its slides alone."
            return failed(given.job, "aborted", reason)
        return result


def _ray() -> Any:
    """The package, told to send nothing about its use. UserError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError("This engine needs Ray. Type: pip install 'pathagent[ray]'") from None
    return ray


def _with(work: Work, encoder: SharedEncoder) -> Work:
    def shared(job: Job) -> CaseResult:
        return work(job, encoder)  # type: ignore[call-arg]

    return shared


def _on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def _room(running: dict[Any, _Given]) -> dict[str, float]:
    """Living node → CPUs without a case of ours; nodes without a whole one are left out."""
    cpus = {n["NodeID"]: n["Resources"].get("CPU", 0.0) for n in _ray().nodes() if n["Alive"]}
    for given in running.values():
        if given.node in cpus:
            cpus[given.node] -= 1
    return {node: free for node, free in cpus.items() if free >= 1}


def _answers(node: str) -> bool:
    """Whether a node still does work: a worker that died may have died with it."""
    ray = _ray()
    probe = ray.remote(num_cpus=0, max_retries=0)(_here).options(scheduling_strategy=_on(node)).remote()
    try:
        return bool(ray.get(probe, timeout=PROBE_S))
    except ray.exceptions.RayError:
        return False


def _here() -> bool:
    return True
