"""`pathagent.batch(...)`: the Python interface of a batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

from pathagent.batches.case import CaseResult, Settings, Stages
from pathagent.batches.engine import Engine, ProcessEngine
from pathagent.batches.manifest import read_manifest, shard_of
from pathagent.batches.run import Planned, check_out, run_batch
from pathagent.budget import Budget
from pathagent_tools.core.errors import UserError


def batch(
    manifest: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    stages: Stages = "all",
    profile: str = "embedded",
    vlm_url: str | None = None,
    vlm_model: str | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    workers: int = 1,
    timeout_s: float = 3600.0,
    shard: str | None = None,
    retry_failed: bool = False,
    force: bool = False,
    planned: Planned | None = None,
    engine: Engine | Literal["local", "ray"] = "local",
    encoders: int = 0,
    knowledge: str | Path | None = None,
    cases: str | Path | None = None,
) -> Iterator[CaseResult]:
    """Run many cases, each into `out/cases/NAME`; yields a result as each case ends.

    manifest: a CSV (columns `slide`, and `case`, `mpp` in µm per px, `history`, `specimen`, `patient`,
    `reference`), a folder, a pattern, or slides. stages: 'all' drafts reports; 'triage' and 'triage,measure'
    stop after the slide is judged or measured. workers: processes, each with models of its own.
    timeout_s: of one case. shard: `i/n`, every n-th case. retry_failed: run failed cases again.
    planned: told once what is left to do. vlm_url: several addresses by comma share the cases out. engine:
    'local' processes, 'ray' (a cluster: RAY_ADDRESS, else one on this machine), or an Engine of your own.
    encoders: with Ray, actors that encode for all workers. knowledge, cases: folder of written criteria and
    case index that each draft is shown beside, as for `draft_report`.

    The same call goes on where an earlier one was stopped, and runs nothing twice that is done. A case that
    fails is a result with `state == "failed"`, its `kind` and its `reason`. Input is checked before this
    returns: raises UserError. While running: ModelUnavailableError where a model server went away.
    """
    from pathagent.agents.comparison import compare_with
    from pathagent_tools.vlm.profile import load_profile
    from pathagent_tools.vlm.weights import models_digest

    if stages not in get_args(Stages):
        raise UserError(f"Unknown stages {stages!r}. Known: {'; '.join(get_args(Stages))}.")
    if workers < 1:
        raise UserError(f"A batch needs at least one worker, not {workers}. Type for example --workers 2.")
    if stages != "all" and (knowledge is not None or cases is not None):
        raise UserError("Only reports are compared with something: leave --stages out, or the folders.")
    models = models_digest(load_profile(profile))
    found = read_manifest(manifest)
    if shard:
        shard_of(found, shard)
    settings = Settings(
        stages=stages,
        profile=str(Path(profile).resolve()) if profile.endswith((".yaml", ".yml")) else profile,
        models=models,
        vlm_url=vlm_url,
        vlm_model=vlm_model,
        budget=budget or Budget(),
        seed=seed,
        compare=compare_with(knowledge, cases),
    )
    folder = Path(out).absolute()
    check_out(folder, force=force)
    if isinstance(engine, str):
        engine = make_engine(engine, workers, timeout_s, encoders)
    return run_batch(
        found,
        settings,
        folder,
        engine,
        threads=max(1, len(os.sched_getaffinity(0)) // workers),
        shard=shard,
        retry_failed=retry_failed,
        force=force,
        planned=planned,
    )


def make_engine(name: str, workers: int, timeout_s: float, encoders: int) -> Engine:
    """The engine of a name. UserError where it is unknown or not installed."""
    if name == "ray":
        from pathagent.batches.ray_engine import RayEngine

        return RayEngine(workers, timeout_s, encoders=encoders)
    if name != "local":
        raise UserError(f"Unknown engine {name!r}. Known: local; ray.")
    if encoders:
        raise UserError("Encoders that workers share need a cluster: add --engine ray.")
    return ProcessEngine(workers, timeout_s)
