"""Train the embedded encoder on phantom tiles and captions, in one stage that resumes where it stopped.

Render tiles (other processes), train, export the best, fit the domain limits, score. `pathagent finetune
encoder --recipe encoder --out DIR` runs it all; a second call goes on.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pathagent_finetune import captions as words
from pathagent_finetune import encoder_model, tilestore
from pathagent_finetune.draws import Draws, device_name, training_device
from pathagent_finetune.encoder_eval import evaluate, zero_shot_accuracy
from pathagent_finetune.encoder_recipe import EncoderRecipe, load_recipe
from pathagent_finetune.loop import Metrics, Stage, claim, run
from pathagent_finetune.word_pieces import build_tokenizer
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.encoders.tissue_map import save_head

if TYPE_CHECKING:
    import torch

__all__ = ["TrainingRun", "evaluate", "train"]
log = logging.getLogger(__name__)

STAGE: Final = "stage-0"
TOKENIZER_TEXTS: Final = 20_000


def train(
    recipe: str | Path,
    out: Path,
    *,
    minutes: float | None = None,
    tiles: Path | None = None,
    device: str | None = None,
) -> Path:
    """Train by a recipe into `out`; returns `out/model`, a folder that `load_encoder` opens.

    minutes: stop after so long (a later call resumes exactly there). tiles: where tiles are rendered and
    kept, `out/tiles` by default. device: see `training_device`. UserError where `out` holds the training of
    another recipe.
    """
    from pathagent_finetune.encoder_card import finish

    plan, on = load_recipe(recipe), training_device(device)
    claim(out, plan.model_dump(mode="json"))
    stores = tilestore.render_tiles(plan.tiles, tiles or out / "tiles", px=plan.tile_px, mpp=plan.mpp)
    training = TrainingRun(plan, out, stores["train"], stores["validation"], on)
    if not training.go(None if minutes is None else time.monotonic() + 60 * minutes):
        log.warning("stopped at step %d: run the same command again to go on", training.stage.step)
        return out / "model"
    finish(plan, out / "model", stores)
    return out / "model"


@dataclass
class Drawn:
    """A step's tiles, turned about. tiles [B, px, px, 3], labels [B, px, px] uint8; tokens [B, context];
    facts and numbers of each tile; true, unknown [B, B] bool: whether a caption fits a tile."""

    tiles: torch.Tensor
    labels: torch.Tensor
    tokens: torch.Tensor
    facts: words.TileFacts
    numbers: torch.Tensor
    true: torch.Tensor
    unknown: torch.Tensor


class TrainingRun:
    """Model, helper tasks and batches of one training run; `stage` says how far it has come."""

    def __init__(
        self,
        plan: EncoderRecipe,
        out: Path,
        store: tilestore.TileStore,
        held: tilestore.TileStore,
        device: torch.device | None = None,
    ) -> None:
        import torch

        from pathagent_finetune.encoder_aux import HelperTasks, nuclear_numbers, stage_shapes

        torch.set_num_threads(plan.threads)
        torch.set_float32_matmul_precision("high")
        torch.manual_seed(plan.seed)
        self.plan, self.out, self.store, self.held = plan, out, store, held
        self.device = device or torch.device("cpu")
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
        self.sides = [side for _, side in shapes]
        self.numbers = nuclear_numbers(store)
        self.model.to(self.device)
        self.helpers.to(self.device)
        self.draws = Draws(self.draw, self.device)
        self.stage = Stage(
            folder=out / STAGE,
            modules={"model": self.model.train(), "helpers": self.helpers},
            loss=self.loss,
            evaluate=self.score,
            keep_best=lambda metrics: None,  # what ships is the last: by then the rate has come down
        )

    def go(self, until: float | None = None) -> bool:
        """Train to the end (True) or until the clock (`time.monotonic`) passes `until` (False)."""
        return run(self.stage, self.plan.budget, until=until)

    def score(self) -> Metrics:
        """Export, open as a user would, and name the tiles of validation (scanners of training) by words."""
        self.export(self.out / "model")
        encoder = load_encoder(f"local-dir:{self.out / 'model'}", mpp=self.plan.mpp)
        score = zero_shot_accuracy(encoder, self.held)
        return {"score": score, "device": device_name(self.device)}

    def export(self, folder: Path) -> None:
        """Write the model folder: configuration, tokenizer, fp16 weights; of the helpers, the tissue map."""
        from pathagent_finetune.encoder_aux import tissue_head

        encoder_model.write_config(folder, self.config, self.tokenizer)
        encoder_model.save_weights(self.model, folder)
        save_head(tissue_head(self.helpers), folder)

    def batch(self, step: int) -> np.ndarray[Any, Any]:
        """Sorted indices of a step's tiles; the order of an epoch depends on (seed, epoch) alone."""
        epoch, inside = divmod(step, max(1, len(self.store) // self.plan.batch))
        order = np.random.default_rng([self.plan.seed, epoch]).permutation(len(self.store))
        return np.sort(order[inside * self.plan.batch : (inside + 1) * self.plan.batch])

    def draw(self, step: int) -> Drawn:
        """What a step trains on; everything random is drawn from (seed, step)."""
        import torch

        from pathagent_finetune.encoder_loss import draw_turns, orient

        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + step)
        rng = Random(f"{self.plan.seed}:{step}")
        index = self.batch(step)
        captions = [words.caption(self.findings[i], self.fractions[i], rng) for i in index]
        facts = words.TileFacts(self.facts.slots[index], self.facts.shares[index])
        true, unknown = (torch.from_numpy(m) for m in words.fits(facts, captions))
        true.fill_diagonal_(True)
        turns = draw_turns(len(index), generator)
        tiles = torch.from_numpy(np.stack([self.store.image(int(i)) for i in index]))
        labels = torch.from_numpy(np.stack([self.store.label(int(i)) for i in index]))
        return Drawn(
            tiles=orient(tiles, *turns),
            labels=orient(labels[..., None], *turns)[..., 0],
            tokens=self._tokens([words.disturbed(c.text, rng) for c in captions]),
            facts=facts,
            numbers=torch.from_numpy(self.numbers[index]),
            true=true,
            unknown=unknown,
        )

    def loss(self, step: int) -> tuple[torch.Tensor, Metrics]:
        """The weighted loss of one batch and its parts."""
        import torch

        from pathagent_finetune.encoder_aux import cell_shares
        from pathagent_finetune.encoder_loss import contrastive_loss, restain

        drawn, on = self.draws(step), self.device
        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + step)
        labels = drawn.labels.to(on)
        cells = [cell_shares(labels, side) for side in self.sides]
        pixels = self._pixels(restain(drawn.tiles.to(on), generator))
        with torch.autocast(on.type, torch.bfloat16, enabled=on.type == "cuda"):
            embedded = self.model.encode_image(pixels).float()
            texts = self.model.encode_text(drawn.tokens.to(on)).float()
        scale = self.model.logit_scale.exp().clamp(max=100.0)
        true, unknown = drawn.true.to(on), drawn.unknown.to(on)
        losses = {"match": contrastive_loss(embedded, texts, scale, true, unknown)}
        losses |= self.helpers(embedded, drawn.facts, drawn.numbers.to(on), cells)
        weights = {"match": 1.0} | dict(self.plan.helper_weights)
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return total, {name: loss.detach() for name, loss in losses.items()} | {"scale": scale.detach()}

    def _pixels(self, tiles: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] 0..255 as the tower takes them."""
        import torch

        mean, std = (_channels(v).to(tiles.device) for v in (self.mean, self.std))
        scaled = (tiles / 255 - mean) / std
        return scaled.contiguous(memory_format=torch.channels_last)  # type: ignore[no-any-return]

    def _tokens(self, texts: list[str]) -> Any:
        return self.tokenizer(
            texts,
            return_tensors="pt",
            max_length=self.plan.shape.context,
            padding="max_length",
            truncation=True,
        ).input_ids


def colour_statistics(store: tilestore.TileStore) -> tuple[list[float], list[float]]:
    """Mean and deviation of R, G, B (0..1) over every 20th tile of a store."""
    sample = np.stack([store.image(i) for i in range(0, len(store), 20)]).reshape(-1, 3) / 255.0
    return [round(float(v), 4) for v in sample.mean(0)], [round(float(v), 4) for v in sample.std(0)]


def _channels(values: list[float]) -> Any:
    import torch

    return torch.tensor(values).view(1, 3, 1, 1)
