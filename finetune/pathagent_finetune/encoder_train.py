"""Train the embedded encoder on phantom tiles and captions, in stages that resume where they stopped.

Stages: render tiles (other processes), train (checkpoint every minute), export, fit the domain limits,
score. `pathagent finetune encoder --recipe encoder --out DIR` runs them all; a second call goes on.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from pathagent_finetune import captions as words
from pathagent_finetune import encoder_model, tilestore
from pathagent_finetune.encoder_eval import evaluate
from pathagent_finetune.encoder_recipe import EncoderRecipe, load_recipe
from pathagent_finetune.word_pieces import build_tokenizer
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes
from pathagent_tools.encoders.tissue_map import save_head

__all__ = ["TrainingRun", "evaluate", "train"]
log = logging.getLogger(__name__)

CHECKPOINT: Final = "checkpoint.pt"
LOG: Final = "log.jsonl"
TOKENIZER_TEXTS: Final = 20_000


def train(recipe: str | Path, out: Path, *, minutes: float | None = None, tiles: Path | None = None) -> Path:
    """Train by a recipe into `out`; returns `out/model`, a folder that `load_encoder` opens.

    minutes: stop after so long (a later call resumes exactly there). tiles: where tiles are rendered and
    kept, `out/tiles` by default. UserError where `out` holds the checkpoint of another recipe.
    """
    from pathagent_finetune.encoder_card import finish

    plan = load_recipe(recipe)
    out.mkdir(parents=True, exist_ok=True)
    stores = tilestore.render_tiles(plan.tiles, tiles or out / "tiles", px=plan.tile_px, mpp=plan.mpp)
    run = TrainingRun(plan, out, stores["train"])
    run.restore()
    if not run.go(minutes):
        log.warning("stopped at step %d of %d: run the same command again to go on", run.step, run.steps)
        return out / "model"
    folder = out / "model"
    run.export(folder)
    finish(plan, folder, stores)
    return folder


class TrainingRun:
    """Model, optimiser and position of one training run."""

    def __init__(self, plan: EncoderRecipe, out: Path, store: tilestore.TileStore) -> None:
        import torch

        from pathagent_finetune.encoder_aux import HelperTasks, cell_shares, nuclear_numbers, stage_shapes

        torch.set_num_threads(plan.threads)
        torch.manual_seed(plan.seed)
        self.plan, self.out, self.store = plan, out, store
        self.recipe_digest = sha256_bytes(canonical_json(plan.model_dump()).encode())
        self.findings = [store.findings(i) for i in range(len(store))]
        self.fractions = [t["fractions"] for t in store.truth]
        self.facts = words.facts_of(self.findings, self.fractions)
        self.mean, self.std = colour_statistics(store)
        texts = words.all_texts(TOKENIZER_TEXTS, plan.seed)
        self.tokenizer = build_tokenizer(texts, plan.shape.vocabulary)
        self.config = encoder_model.open_clip_config(
            plan.shape, tile_px=plan.tile_px, vocabulary=len(self.tokenizer), mean=self.mean, std=self.std
        )
        self.model = encoder_model.new_model(self.config).to(memory_format=torch.channels_last)
        trunk = self.model.visual.trunk
        shapes = stage_shapes(trunk, plan.tile_px)
        self.helpers = HelperTasks(plan.shape.dim, tuple(channels for channels, _ in shapes))
        self.helpers.watch(trunk)
        self.cells = [cell_shares(store, side) for _, side in shapes]
        self.numbers = nuclear_numbers(store)
        self.parameters = [*self.model.parameters(), *self.helpers.parameters()]
        decayed = [p for p in self.parameters if p.ndim >= 2]
        plain = [p for p in self.parameters if p.ndim < 2]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=plan.learning_rate,
            betas=(0.9, 0.98),
        )
        self.step = 0
        self.steps = plan.epochs * (len(store) // plan.batch)
        if not self.steps:
            raise UserError(f"{len(store)} tiles are fewer than one batch of {plan.batch}: lower `batch`.")

    def go(self, minutes: float | None) -> bool:
        """Train to the end (True) or until the time is up (False); checkpoints on the way."""
        start = saved = time.monotonic()
        self.model.train()
        for batch in self.batches():
            row = self.update(batch)
            if self.step % 10 == 0 or self.step == self.steps:
                self._write_log(row | {"step": self.step, "seconds": round(time.monotonic() - start, 1)})
            now = time.monotonic()
            stop = minutes is not None and now - start > 60 * minutes
            if stop or now - saved > self.plan.checkpoint_seconds or self.step == self.steps:
                self.save()
                saved = now
            if stop:
                break
        return self.step >= self.steps

    def save(self) -> None:
        """Write the checkpoint (training state, not weights to ship) under a temporary name first."""
        import torch

        state = {
            "recipe": self.recipe_digest,
            "step": self.step,
            "model": self.model.state_dict(),
            "helpers": self.helpers.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        part = self.out / f"{CHECKPOINT}.tmp"
        torch.save(state, part)
        part.replace(self.out / CHECKPOINT)

    def restore(self) -> None:
        """Go on from the checkpoint where there is one."""
        import torch

        path = self.out / CHECKPOINT
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != self.recipe_digest:
            raise UserError(f"{path} was made by another recipe: give another --out, or delete the file.")
        self.model.load_state_dict(state["model"])
        self.helpers.load_state_dict(state["helpers"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])

    def export(self, folder: Path) -> None:
        """Write the model folder: configuration, tokenizer, fp16 weights; of the helpers, the tissue map."""
        from pathagent_finetune.encoder_aux import tissue_head

        encoder_model.write_config(folder, self.config, self.tokenizer)
        encoder_model.save_weights(self.model.eval(), folder)
        save_head(tissue_head(self.helpers), folder)

    def batches(self) -> Iterator[np.ndarray[Any, Any]]:
        """Index batches from the present step on; the order of an epoch depends on (seed, epoch) alone."""
        per_epoch = len(self.store) // self.plan.batch
        while self.step < self.steps:
            epoch, inside = divmod(self.step, per_epoch)
            order = np.random.default_rng([self.plan.seed, epoch]).permutation(len(self.store))
            yield order[inside * self.plan.batch : (inside + 1) * self.plan.batch]

    def update(self, index: np.ndarray[Any, Any]) -> dict[str, float]:
        """One optimiser step on one batch."""
        import torch

        from pathagent_finetune.encoder_loss import contrastive_loss, draw_turns, orient, restain

        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step)
        rng = Random(f"{self.plan.seed}:{self.step}")
        index = np.sort(index)
        captions = [words.caption(self.findings[i], self.fractions[i], rng) for i in index]
        facts = words.TileFacts(self.facts.slots[index], self.facts.shares[index])
        true, unknown = (torch.from_numpy(m) for m in words.fits(facts, captions))
        true.fill_diagonal_(True)
        turns = draw_turns(len(index), generator)
        tiles = orient(torch.from_numpy(np.stack([self.store.image(int(i)) for i in index])), *turns)
        cells = [orient(torch.from_numpy(c[index]), *turns).to(torch.float32) / 255 for c in self.cells]
        pixels = (restain(tiles, generator) / 255 - _channels(self.mean)) / _channels(self.std)
        embedded = self.model.encode_image(pixels.contiguous(memory_format=torch.channels_last))
        texts = self.model.encode_text(self._tokens([c.text for c in captions]))
        scale = self.model.logit_scale.exp().clamp(max=100.0)
        losses = {"match": contrastive_loss(embedded, texts, scale, true, unknown)}
        losses |= self.helpers(embedded, facts, torch.from_numpy(self.numbers[index]), cells)
        weights = {"match": 1.0} | dict(self.plan.helper_weights)
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        row = {name: round(loss.item(), 4) for name, loss in losses.items()}
        return row | {"scale": round(scale.item(), 2)}

    def _tokens(self, texts: list[str]) -> Any:
        return self.tokenizer(
            texts,
            return_tensors="pt",
            max_length=self.plan.shape.context,
            padding="max_length",
            truncation=True,
        ).input_ids

    def _learning_rate(self) -> float:
        warm = (self.step + 1) / max(1, self.plan.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        return self.plan.learning_rate * min(1.0, warm) * max(0.01, cosine)

    def _write_log(self, row: dict[str, float]) -> None:
        with (self.out / LOG).open("a") as out:
            out.write(json.dumps(row) + "\n")
        log.info("%s", row)


def colour_statistics(store: tilestore.TileStore) -> tuple[list[float], list[float]]:
    """Mean and deviation of R, G, B (0..1) over every 20th tile of a store."""
    sample = np.stack([store.image(i) for i in range(0, len(store), 20)]).reshape(-1, 3) / 255.0
    return [round(float(v), 4) for v in sample.mean(0)], [round(float(v), 4) for v in sample.std(0)]


def _channels(values: list[float]) -> Any:
    import torch

    return torch.tensor(values).view(1, 3, 1, 1)
