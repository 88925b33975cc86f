"""Train the embedded generator in stages that resume where they stopped.

Render fields (another process), train each stage of the recipe, score, write the card. `pathagent finetune
generator --recipe generator --out DIR` runs them all; a second call goes on. What is kept is the moving
average of the weights whose loss on validation fields was least.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pathagent_finetune import generator_store
from pathagent_finetune.draws import Draws, device_name, training_device
from pathagent_finetune.generator_batch import DrawnFields, FieldBatches
from pathagent_finetune.generator_recipe import GeneratorRecipe, load_recipe
from pathagent_finetune.loop import Metrics, Stage, claim, run
from pathagent_finetune.tilestore import Split, in_processes
from pathagent_tools.generators.network import Batch, Generator
from pathagent_tools.generators.weights import load_network, save_network

log = logging.getLogger(__name__)

VALIDATION_FIELDS: Final = 128
STAGE_NAME: Final = "stage-{:d}"


def train(
    recipe: str | Path,
    out: Path,
    *,
    minutes: float | None = None,
    tiles: Path | None = None,
    device: str | None = None,
) -> Path:
    """Train by a recipe into `out`; returns `out/model`, a folder that `load_generator` opens.

    minutes: stop after so long; a later call goes on. tiles: where fields are rendered and kept,
    `out/fields` by default. device: see `training_device`. UserError where `out` belongs to another recipe.
    """
    plan, on = load_recipe(recipe), training_device(device)
    claim(out, plan.model_dump(mode="json", exclude={"stages"}))  # more stages may be added later
    stores = render_fields(plan, tiles or out / "fields")
    until = None if minutes is None else time.monotonic() + 60 * minutes
    for number in range(len(plan.stages)):
        if not train_stage(plan, number, out, stores, on, until=until):
            log.warning("stopped in stage %d: run the same command again to go on", number)
            return out / "model"
    from pathagent_finetune.generator_card import finish

    finish(plan, out / "model", stores)
    return out / "model"


def render_fields(plan: GeneratorRecipe, folder: Path) -> dict[str, generator_store.FieldStore]:
    """The four stores, rendered where they are not whole yet; test fields come from other worlds."""
    jobs: list[Callable[[], None]] = []
    for name, tiles in plan.fields:
        split: Split = "test" if name == "test" else "train"
        jobs += generator_store.shards_of(folder / name, tiles, px=plan.px, split=split)
    in_processes(jobs)
    return {name: generator_store.open_store(folder / name) for name, _ in plan.fields}


def train_stage(
    plan: GeneratorRecipe,
    number: int,
    out: Path,
    stores: dict[str, generator_store.FieldStore],
    device: torch.device,
    *,
    until: float | None = None,
) -> bool:
    """One stage, from the best weights of the one before. False where the clock passed `until` first."""
    torch.set_num_threads(plan.threads)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(plan.seed)
    net = _network(plan, number, out, stores["train"]).to(device)
    average = copy.deepcopy(net).requires_grad_(requires_grad=False)
    work = _Work(plan, number, net, average, stores, device)
    stage = Stage(
        folder=out / STAGE_NAME.format(number),
        modules={"net": net, "average": average},
        loss=work.loss,
        evaluate=work.evaluate,
        keep_best=lambda metrics: save_network(average, out / "model"),
        filters=True,
    )
    return run(stage, plan.stages[number], until=until)


def flow_loss(net: Generator, clean: Tensor, batch: Batch, t: Tensor, noise: Tensor) -> Tensor:
    """[n]: squared error of the network's raw output, of unit weight at every noise level."""
    when = t.view(-1, 1, 1, 1)
    x = when * clean + (1 - when) * noise
    weight = (when**2 + (1 - when) ** 2) / (1 - when) ** 2
    errors: Tensor = ((net(x, t, batch) - clean) ** 2 * weight).mean((1, 2, 3))
    return errors


class _Work:
    """What one stage does a step and at an evaluation."""

    def __init__(
        self,
        plan: GeneratorRecipe,
        number: int,
        net: Generator,
        average: Generator,
        stores: dict[str, generator_store.FieldStore],
        device: torch.device,
    ) -> None:
        self.plan, self.number, self.net, self.average, self.device = plan, number, net, average, device
        self.batches = FieldBatches(stores["train"])
        self.draws = Draws(self.draw, device)
        held = FieldBatches(stores["validation"])
        rng = np.random.default_rng(plan.seed)
        chosen = np.linspace(0, len(stores["validation"]) - 1, VALIDATION_FIELDS).astype(np.int64)
        drawn = [held.draw(chosen[i : i + plan.batch], rng) for i in range(0, len(chosen), plan.batch)]
        self.held = [one.tensors(net, device) for one in drawn]

    def draw(self, step: int) -> tuple[DrawnFields, Tensor]:
        """(fields and conditions, times) of a step, drawn from (seed, stage, step)."""
        rng = np.random.default_rng([self.plan.seed, self.number, step])
        drawn = self.batches.draw(rng.integers(len(self.batches.store), size=self.plan.batch), rng)
        t = torch.from_numpy(rng.normal(0.0, 1.2, self.plan.batch)).float().sigmoid().clamp(0.001, 0.985)
        return drawn, t

    def loss(self, step: int) -> tuple[Tensor, Metrics]:
        """The loss of one batch; the average follows the last step."""
        self._follow(step)
        drawn, t = self.draws(step)
        on = self.device
        clean, batch = drawn.tensors(self.net, on)
        generator = torch.Generator(on).manual_seed(1_000_003 * self.plan.seed + 100_003 * self.number + step)
        noise = torch.randn(clean.shape, generator=generator, device=on)
        loss = flow_loss(self.net, clean, batch, t.to(on), noise).mean()
        return loss, {"loss": loss.detach()}

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        keep = min(self.plan.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - keep)

    @torch.inference_mode()
    def evaluate(self) -> Metrics:
        """Loss of the averaged weights on validation fields at fixed noise, with and without reference."""
        generator = torch.Generator().manual_seed(self.plan.seed)
        free: list[float] = []
        led: list[float] = []
        on = self.device
        for clean, batch in self.held:
            t = (torch.arange(len(clean)) + 0.5) / len(clean) * 0.97
            noise = torch.randn(clean.shape, generator=generator)
            losses = flow_loss(self.average, clean, batch, t.to(on), noise.to(on))
            for value, kind in zip(losses.tolist(), batch.kind.tolist(), strict=True):
                (led if kind else free).append(value)
        mean = float(np.mean(free + led))
        return {
            "score": -mean,
            "free": round(float(np.mean(free)), 4),
            "referenced": round(float(np.mean(led)), 4),
            "device": device_name(on),
        }


def _network(plan: GeneratorRecipe, number: int, out: Path, store: generator_store.FieldStore) -> Generator:
    if number and (out / "model").is_dir():
        return load_network(out / "model").train()
    sample = store.stack("images", np.arange(0, len(store), 20)).reshape(-1, 3) / 255.0
    mean, std = ([round(float(v), 4) for v in f(sample, axis=0)] for f in (np.mean, np.std))
    net = Generator(plan.shape.model_copy(update={"mean": tuple(mean), "std": tuple(std)}))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
