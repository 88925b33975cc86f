"""Train the embedded VLM by a recipe, in stages that resume where they stopped.

Stages: render tiles (other processes), learn the tokenizer, teach the visual tower, teach the language
model on texts alone, then on tiles and texts with the tower frozen, score and write the card. The best
state of the last training stage, by its own answers on validation tiles (grammar-bound greedy decoding,
no teacher forcing) and its reading of unseen texts, becomes the checkpoint.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune import vision_tokens
from pathagent_finetune.architecture import build_model, save_checkpoint
from pathagent_finetune.loop import Metrics, Stage, claim, run
from pathagent_finetune.mix import text_example, tile_example
from pathagent_finetune.tilestore import TileStore, render_tiles
from pathagent_finetune.tokenizer import train_tokenizer
from pathagent_finetune.vision_pretrain import build_heads, classified, epoch_batch, train_visual
from pathagent_finetune.vlm_batch import Encoder, collate, forward, leaf_texts, value_weights
from pathagent_finetune.vlm_card import finish
from pathagent_finetune.vlm_eval import in_training, slot_accuracy
from pathagent_finetune.vlm_recipe import VLMRecipe, load_recipe
from pathagent_tools.core.card import CARD_NAME
from pathagent_tools.core.files import write_text_atomic

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

POOL = 4
"""Text examples of this many steps are sorted by length, so that a batch holds equals."""


def train(recipe: str | Path, out: Path, *, minutes: float | None = None, tiles: Path | None = None) -> Path:
    """Train by a recipe into `out`; returns `out/model`, a folder in the format of the hub.

    minutes: stop after so long (the same call goes on from there). tiles: where tiles are rendered and
    kept, `out/tiles` by default. UserError where `out` holds the training of another recipe.
    """
    import torch

    until = None if minutes is None else time.monotonic() + 60 * minutes
    plan = load_recipe(recipe)
    claim(out, plan.model_dump(mode="json"))
    stores = render_tiles(plan.tiles, tiles or out / "tiles", px=plan.size.tile_px, mpp=plan.mpp)
    torch.set_num_threads(plan.threads)
    tokenizer = learn_tokenizer(plan, stores["train"], out / "tokenizer")
    model = build_model(plan.size, tokenizer, seed=plan.seed)
    model.set_attn_implementation("eager")  # on a CPU the faster one to train with
    heads = build_heads(plan.size.hidden, seed=plan.seed)
    done = train_visual(
        model.model.visual,
        heads,
        stores["train"],
        stores["validation"],
        out / "vision",
        plan.vision,
        batch=plan.vision_batch,
        colour=plan.colour,
        bf16=plan.bf16,
        until=until,
    )
    reader = _Reader(plan, model, tokenizer, stores["train"])
    done = done and _train_language(plan, reader, out, until)
    done = done and _train_joint(plan, reader, stores, out, until)
    if not done:
        log.warning("time is over before the recipe's end: run the same command again to go on")
    elif not (out / "model" / CARD_NAME).is_file():
        ceiling = classified(model.model.visual, heads, stores["test"])
        finish(plan, out / "model", stores, ceiling)
    return out / "model"


def learn_tokenizer(plan: VLMRecipe, store: TileStore, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of this training: learned from its own examples once, then read from `folder`."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        found = [text_example(-1 - i, plan.language_mix) for i in range(plan.tokenizer_texts)]
        found += [tile_example(i % len(store), store, Random(i)) for i in range(plan.tokenizer_texts)]
        texts = [t for e in found for t in (e.request.system, e.request.user, *leaf_texts(e.target))]
        tokenizer = train_tokenizer(texts, [e.target for e in found], vocab=plan.size.vocab)
        tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


class _Reader:
    """The losses of the language model: on texts alone, and on tiles that the frozen tower has seen."""

    def __init__(
        self, plan: VLMRecipe, model: Any, tokenizer: PreTrainedTokenizerBase, store: TileStore
    ) -> None:
        self.plan, self.model, self.store = plan, model, store
        self.encoder = Encoder(tokenizer, plan.size.image_tokens, value_weights(store.truth))
        self._pool: tuple[Any, list[Any]] = (None, [])

    def _loss(self, drawn: Sequence[Any], seen: Tensor | None) -> Tensor:
        import torch

        batch = collate(drawn, self.encoder)
        logits, wanted = forward(self.model, batch, seen)
        each = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
        weights = batch.weights[:, 1:][batch.weights[:, 1:] > 0]
        return (each * weights).sum() / weights.sum()

    def texts(self, number: int, size: int, mix: Mapping[str, float]) -> Tensor:
        """Token loss on the `number`-th batch of text examples; POOL batches are sorted by length."""
        pool, turn = divmod(number, POOL)
        if self._pool[0] != (pool, size):
            drawn = [text_example(pool * POOL * size + i, mix) for i in range(POOL * size)]
            self._pool = (pool, size), sorted(drawn, key=lambda e: len(e.request.user) + len(e.target_text))
        return self._loss(self._pool[1][turn * size : (turn + 1) * size], None)

    def tiles(self, step: int, size: int, views: NDArray[np.float16], *, stage: int) -> Tensor:
        """Token loss on a batch of tile examples."""
        import torch

        chosen = epoch_batch(len(self.store), size, step, self.plan.seed + 1 + stage)
        rngs = [Random(f"tile-{stage}-{step}-{i}") for i in chosen]
        seen = np.stack([views[rng.randrange(len(views)), i] for rng, i in zip(rngs, chosen, strict=True)])
        drawn = [tile_example(i, self.store, rng) for rng, i in zip(rngs, chosen, strict=True)]
        return self._loss(drawn, torch.from_numpy(seen.astype(np.float32)))

    def right(self, first: int, count: int) -> dict[str, float]:
        """Share of the content tokens of unseen texts that the model would have chosen, by role."""
        import torch

        encoder = replace(self.encoder, even=False)
        hits: dict[str, list[float]] = {}
        with torch.inference_mode():
            for example in (text_example(first + i) for i in range(count)):
                batch = collate([example], encoder)
                logits, wanted = forward(self.model, batch, None)
                content = batch.weights[:, 1:][batch.weights[:, 1:] > 0] >= 1
                found = (logits.argmax(-1) == wanted)[content].float().tolist()
                hits.setdefault(example.request.role, []).extend(found[:-1])  # the end is no content
        everything = [x for values in hits.values() for x in values]
        shares = {role: round(float(np.mean(values)), 4) for role, values in hits.items()}
        return shares | {"score": round(float(np.mean(everything)), 4)}


BATCHES_OF_A_STAGE = 1_000_000
"""No two stages draw the same texts."""
UNSEEN_TEXTS = 10_000_000_000
"""Seeds of the texts that the language stage is scored on start here."""


def _train_language(plan: VLMRecipe, reader: _Reader, out: Path, until: float | None) -> bool:
    """The language model on text examples alone: fluency and the reading of ledgers."""

    def loss(step: int) -> tuple[Tensor, Metrics]:
        total = reader.texts(step, plan.language_texts, plan.language_mix)
        return total, {"texts": total.detach()}

    stage = Stage(
        out / "language",
        {"language": reader.model.model.language_model},
        loss,
        lambda: reader.right(UNSEEN_TEXTS, 200),
        lambda _: None,
    )
    return run(stage, plan.language, until=until)


def _train_joint(
    plan: VLMRecipe, reader: _Reader, stores: dict[str, TileStore], out: Path, until: float | None
) -> bool:
    """The language model on tiles and texts together, the tower frozen; the last stage's best is kept."""
    model, tokenizer = reader.model, reader.encoder.tokenizer
    reader.encoder = replace(reader.encoder, even=True)
    views = vision_tokens.tokens(
        model.model.visual,
        stores["train"],
        out / "seen.npy",
        views=plan.views,
        seed=plan.seed,
        colour=plan.colour,
    )

    def loss_of(number: int) -> Callable[[int], tuple[Tensor, Metrics]]:
        stage = plan.joint[number]
        first = (number + 1) * BATCHES_OF_A_STAGE

        def loss(step: int) -> tuple[Tensor, Metrics]:
            seen = reader.tiles(step, stage.tiles, views, stage=number)
            read = reader.texts(first + step, stage.texts, stage.mix)
            return seen + read, {"tiles": seen.detach(), "texts": read.detach()}

        return loss

    def evaluate() -> Metrics:
        held_out = stores["validation"]
        tiles = range(min(plan.evaluate_tiles, len(held_out)))
        seen, blind = in_training(model, tokenizer, plan.size, held_out, tiles, mpp=plan.mpp)
        truth = [held_out.truth[i]["findings"] for i in tiles]
        scores = slot_accuracy(truth, seen)
        read = reader.right(UNSEEN_TEXTS, 200)
        return {
            "slots": scores,
            "blank": slot_accuracy(truth, blind)["macro"],
            "texts": read,
            "score": scores["macro"] + read["score"],
        }

    def keep_best(metrics: Metrics) -> None:
        save_checkpoint(out / "model", model, tokenizer, plan.size)
        write_text_atomic(out / "model.json", json.dumps(metrics, indent=1) + "\n")

    for number, wanted in enumerate(plan.joint):
        last = number == len(plan.joint) - 1
        stage = Stage(
            out / f"joint-{number}",
            {"language": model.model.language_model},
            loss_of(number),
            evaluate if last else lambda: reader.right(UNSEEN_TEXTS, 200),
            keep_best if last else lambda _: None,
        )
        if not run(stage, wanted.budget, until=until):
            return False
    return True
