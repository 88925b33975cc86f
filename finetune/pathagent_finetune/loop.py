"""One resumable training stage: schedule, optimizers, checkpoints, evaluation, log. Knows no model.

A stage is bounded by minutes or by steps. What it has done stands in its folder: `state.pt` (parameters,
optimizers, step, seconds), `log.jsonl`, and whatever the caller's `keep_best` writes. A killed stage goes
on from the last state; batches are drawn from (seed, step), so no random state has to be kept.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, write_text_atomic
from pathagent_tools.core.geometry import Frozen

if TYPE_CHECKING:
    import torch
    from torch import nn

log = logging.getLogger(__name__)

Metrics = dict[str, Any]
LOG: Final = "log.jsonl"


class Budget(Frozen):
    """How long a stage runs and how its learning rate moves; `steps` wins over `minutes`.

    With `steps` a run is reproducible step by step; with `minutes` the schedule follows the clock, so
    that the learning rate has come down when the time is over, whatever the machine's speed.
    """

    minutes: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    lr: float = 1e-3
    warmup: float = Field(default=0.03, description="share of the stage")
    final: float = Field(default=0.02, description="share of `lr` at the end of the cosine")
    weight_decay: float = 0.05
    clip: float = 1.0
    save_minutes: float = 3.0
    evaluate_minutes: float = 6.0
    seed: int = 0

    @model_validator(mode="after")
    def _bounded(self) -> Budget:
        if self.minutes is None and self.steps is None:
            raise ValueError("a stage needs `minutes` or `steps`")
        return self

    def progress(self, step: int, seconds: float) -> float:
        """How much of the stage is done, 0..1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))

    def rate(self, progress: float) -> float:
        """Learning rate at this progress: linear warm-up, then cosine."""
        if progress < self.warmup:
            return self.lr * max(progress / self.warmup, 0.01)
        x = (progress - self.warmup) / max(1e-9, 1 - self.warmup)
        return self.lr * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * x)))


def claim(out: Path, recipe: Mapping[str, Any]) -> None:
    """Make the folder of a training its recipe's own. UserError where another recipe was trained there."""
    out.mkdir(parents=True, exist_ok=True)
    digest = sha256_bytes(canonical_json(dict(recipe)).encode())
    path = out / "recipe.json"
    if path.is_file() and json.loads(path.read_text())["digest"] != digest:
        raise UserError(f"{out} holds the training of another recipe: give another --out, or delete it.")
    write_text_atomic(path, json.dumps({"digest": digest, "recipe": recipe}, indent=1))


def optimizers(
    modules: Mapping[str, nn.Module], budget: Budget, rates: Mapping[str, float], *, filters: bool = False
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the towers, AdamW for embeddings, norms, biases and heads.

    Muon (Jordan et al. 2024) learns more per step than AdamW, which counts where a stage has minutes;
    its update is scaled to AdamW's, so both share one rate. `rates`
    scales the rate of single modules. filters: the convolutions of blocks go to Muon as well, each as a
    matrix [out, in x h x w]; where there are no other matrices, AdamW has them too. A parameter that two
    modules hold belongs to the first.
    """
    import torch

    from pathagent_finetune.muon import Float32Muon

    kinds: dict[str, list[dict[str, Any]]] = {"muon": [], "filters": [], "adamw": []}
    seen: set[int] = set()
    for key, module in modules.items():
        sorted_out: dict[str, list[nn.Parameter]] = {"matrices": [], "filters": [], "tables": [], "plain": []}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            inside = ".layers." in f".{name}" or "blocks." in name
            kind = (
                "plain" if parameter.ndim < 2 else "matrices" if parameter.ndim == 2 and inside else "tables"
            )
            if filters and parameter.ndim == 4 and "block" in name:
                kind = "filters"
            sorted_out[kind].append(parameter)
        for kind, parameters in sorted_out.items():
            if parameters:
                group = {"params": parameters, "scale": rates.get(key, 1.0)}
                group["weight_decay"] = 0.0 if kind == "plain" else budget.weight_decay
                kinds["muon" if kind == "matrices" else kind if kind == "filters" else "adamw"].append(group)
    found: list[torch.optim.Optimizer] = []
    if not kinds["muon"]:
        kinds["adamw"] += kinds["filters"]
    if kinds["muon"]:
        muon = Float32Muon(kinds["muon"], lr=budget.lr)
        for group in kinds["filters"]:
            muon.add_param_group(group)
        found.append(muon)
    found.append(torch.optim.AdamW(kinds["adamw"], lr=budget.lr, betas=(0.9, 0.98)))
    return found


@dataclass
class Stage:
    """What `run` needs to know: modules, loss of a step, evaluation.

    `loss(step)` returns the loss to minimise and numbers to log. `evaluate()` returns metrics, among
    them `score` (higher is better); `keep_best(metrics)` is called when it rises.
    """

    folder: Path
    modules: Mapping[str, nn.Module]
    loss: Callable[[int], tuple[torch.Tensor, Metrics]]
    evaluate: Callable[[], Metrics]
    keep_best: Callable[[Metrics], None]
    rates: Mapping[str, float] = field(default_factory=dict)
    filters: bool = False
    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)


def _save(stage: Stage, optim: list[torch.optim.Optimizer]) -> None:
    import torch

    state = {
        "modules": {name: module.state_dict() for name, module in stage.modules.items()},
        "optimizers": [o.state_dict() for o in optim],
        "step": stage.step,
        "seconds": stage.seconds,
        "best": stage.best,
        "finished": stage.finished,
    }
    part = stage.folder / f".state.{os.getpid()}.tmp"
    torch.save(state, part)
    part.replace(stage.folder / "state.pt")


def _load(stage: Stage, optim: list[torch.optim.Optimizer]) -> None:
    import torch

    state = torch.load(stage.folder / "state.pt", map_location="cpu", weights_only=True)
    for name, module in stage.modules.items():
        module.load_state_dict(state["modules"][name])
    for optimizer, saved in zip(optim, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    stage.step, stage.seconds, stage.best = state["step"], state["seconds"], state["best"]
    stage.finished = state["finished"]


def _write_log(stage: Stage, row: Metrics) -> None:
    with (stage.folder / LOG).open("a") as out:
        out.write(json.dumps({"step": stage.step, "seconds": round(stage.seconds, 1)} | row) + "\n")
    log.info("step %d %.0f s %s", stage.step, stage.seconds, row)


def evaluations(out: Path) -> list[Metrics]:
    """The last evaluation of each stage of a training, with its step and seconds: for the model's card."""
    found = []
    for path in sorted(out.glob(f"stage-*/{LOG}")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        judged = [row for row in rows if row.get("event") == "evaluation"]
        found += [{"stage": path.parent.name, **row} for row in judged[-1:]]
    return found


def _evaluate(stage: Stage) -> None:
    for module in stage.modules.values():
        module.eval()
    metrics = stage.evaluate()
    for module in stage.modules.values():
        module.train()
    _write_log(stage, {"event": "evaluation"} | metrics)
    if metrics["score"] > stage.best:
        stage.best = metrics["score"]
        stage.keep_best(metrics)


def run(stage: Stage, budget: Budget, *, until: float | None = None, log_every: int = 20) -> bool:
    """Train until the budget is spent; the last state and the best model are on disk afterwards.

    A state in the folder is taken up where it stopped. Returns False when the clock (`time.monotonic`)
    passed `until` first. UserError when the loss is no longer finite (the last good state is kept).
    """
    import torch

    stage.folder.mkdir(parents=True, exist_ok=True)
    optim = optimizers(stage.modules, budget, stage.rates, filters=stage.filters)
    if (stage.folder / "state.pt").exists():
        _load(stage, optim)
    if stage.finished:
        return True
    last = saved = evaluated = time.monotonic()
    parameters = [p for module in stage.modules.values() for p in module.parameters() if p.requires_grad]
    while (progress := budget.progress(stage.step, stage.seconds)) < 1:
        for optimizer in optim:
            for group in optimizer.param_groups:
                group["lr"] = budget.rate(progress) * group["scale"]
        loss, numbers = stage.loss(stage.step)
        if not torch.isfinite(loss):
            raise UserError(
                f"The loss became {loss.item()} at step {stage.step}: lower `lr` in the recipe and start "
                f"in a new folder; {stage.folder}/state.pt holds the last good state."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, budget.clip)
        for optimizer in optim:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        stage.step += 1
        now = time.monotonic()
        stage.seconds, last = stage.seconds + now - last, now
        for key, value in numbers.items():
            stage.sums[key] = stage.sums.get(key, 0.0) + float(value)
        if stage.step % log_every == 0:
            means = {key: round(value / log_every, 4) for key, value in stage.sums.items()}
            _write_log(stage, means | {"lr": round(budget.rate(progress), 6)})
            stage.sums.clear()
        if now - saved > 60 * budget.save_minutes:
            _save(stage, optim)
            saved = now
        if now - evaluated > 60 * budget.evaluate_minutes:
            _evaluate(stage)
            evaluated = last = time.monotonic()
        if until is not None and now > until:
            _save(stage, optim)
            return False
    _evaluate(stage)
    stage.finished = True
    _save(stage, optim)
    return True
