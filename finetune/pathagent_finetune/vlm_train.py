"""Train the embedded VLM by a recipe, in stages that resume where they stopped.

Stages: render tiles (other processes), learn the tokenizer, teach the visual tower, train everything
together on image and text examples, score and write the card. The best state of the last training
stage, by its own answers on validation tiles (grammar-bound greedy decoding, no teacher forcing),
becomes the checkpoint.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from pathagent_finetune import tilestore
from pathagent_finetune.architecture import build_model, save_checkpoint
from pathagent_finetune.loop import Metrics, Stage, run
from pathagent_finetune.mix import text_example, tile_example
from pathagent_finetune.tilestore import TileStore
from pathagent_finetune.tokenizer import train_tokenizer
from pathagent_finetune.vision_pretrain import (
    build_heads,
    epoch_batch,
    loss_of,
    read_heads,
    targets,
    tile_batch,
    train_visual,
)
from pathagent_finetune.vlm_batch import Encoder, collate, forward, leaf_texts, value_weights
from pathagent_finetune.vlm_card import finish
from pathagent_finetune.vlm_eval import in_training, slot_accuracy
from pathagent_finetune.vlm_recipe import VLMRecipe, load_recipe
from pathagent_tools.core.card import CARD_NAME
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, write_text_atomic

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
    _claim(out, plan)
    stores = render_tiles(plan, tiles or out / "tiles")
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
    if done:
        done = _train_joint(plan, model, heads, tokenizer, stores, out, until)
    if not done:
        log.warning("time is over before the recipe's end: run the same command again to go on")
    elif not (out / "model" / CARD_NAME).is_file():
        finish(plan, out / "model", stores)
    return out / "model"


def _claim(out: Path, plan: VLMRecipe) -> None:
    """Refuse a folder in which another recipe was trained; write this one's digest into a new folder."""
    digest = sha256_bytes(canonical_json(plan.model_dump(mode="json")).encode())
    path = out / "recipe.json"
    if path.is_file():
        if json.loads(path.read_text())["digest"] != digest:
            raise UserError(f"{out} holds the training of another recipe: choose another --out.")
        return
    write_text_atomic(path, json.dumps({"digest": digest, "recipe": plan.model_dump(mode="json")}, indent=1))


def render_tiles(plan: VLMRecipe, folder: Path) -> dict[str, TileStore]:
    """Render the three tile sets under `folder`, or open them where they are whole.

    Test tiles come from other worlds and half of them from held-out scanners; nothing else sees those.
    """
    stores = {}
    for name in ("train", "validation", "test"):
        wanted = getattr(plan.tiles, name)
        stores[name] = tilestore.build(
            folder / name,
            wanted.count,
            first_seed=wanted.first_seed,
            px=plan.size.tile_px,
            mpp=plan.mpp,
            split="test" if name == "test" else "train",
        )
    return stores


def learn_tokenizer(plan: VLMRecipe, store: TileStore, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of this training: learned from its own examples once, then read from `folder`."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        found = [text_example(-1 - i) for i in range(plan.tokenizer_texts)]
        found += [tile_example(i % len(store), store, Random(i)) for i in range(plan.tokenizer_texts)]
        texts = [t for e in found for t in (e.request.system, e.request.user, *leaf_texts(e.target))]
        tokenizer = train_tokenizer(texts, [e.target for e in found], vocab=plan.size.vocab)
        tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


class _Joint:
    """The loss of one step of the joint stage: a batch of tiles and a batch of texts."""

    def __init__(self, plan: VLMRecipe, model: Any, heads: Any, encoder: Encoder, store: TileStore) -> None:
        import torch

        self.plan, self.model, self.heads, self.encoder, self.store = plan, model, heads, encoder, store
        self.slots, self.numbers = (torch.from_numpy(x) for x in targets(store))

    def loss(self, step: int) -> tuple[Tensor, Metrics]:
        """Token loss on tiles + token loss on texts + the visual heads' loss."""
        seen, extra = self._tiles(step)
        read = self._texts(step)
        total = seen + read + self.plan.auxiliary_weight * extra
        return total, {"tiles": seen.detach(), "texts": read.detach(), "heads": extra.detach()}

    def _token_loss(self, batch: Any, patches: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        import torch

        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.plan.bf16):
            logits, wanted, merged, deep = forward(self.model, batch, patches)
        each = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
        weights = batch.weights[:, 1:][batch.weights[:, 1:] > 0]
        return (each * weights).sum() / weights.sum(), merged, deep

    def _tiles(self, step: int) -> tuple[Tensor, Tensor]:
        import torch

        plan = self.plan
        chosen = epoch_batch(len(self.store), plan.joint_tiles, step, plan.seed + 1)
        rng = np.random.default_rng([plan.seed, 3, step])
        drawn = [tile_example(i, self.store, Random(f"tile-{step}-{i}")) for i in chosen]
        patches, cells = tile_batch(self.store, chosen, rng, colour=plan.colour)
        loss, merged, deep = self._token_loss(collate(drawn, self.encoder), patches)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.bf16):
            out = read_heads(self.heads, merged, deep)
        return loss, loss_of(out, cells, self.slots[chosen], self.numbers[chosen])[0]

    def _texts(self, step: int) -> Tensor:
        size = self.plan.joint_texts
        if step % POOL == 0 or not hasattr(self, "_pool"):
            first = (step // POOL) * POOL * size
            drawn = [text_example(first + i) for i in range(POOL * size)]
            self._pool = sorted(drawn, key=lambda e: len(e.request.user) + len(e.target_text))
        turn = (step % POOL) * size
        return self._token_loss(collate(self._pool[turn : turn + size], self.encoder), None)[0]


def _train_joint(
    plan: VLMRecipe,
    model: Any,
    heads: Any,
    tokenizer: PreTrainedTokenizerBase,
    stores: dict[str, TileStore],
    out: Path,
    until: float | None,
) -> bool:
    encoder = Encoder(tokenizer, plan.size.image_tokens, value_weights(stores["train"].truth))
    joint = _Joint(plan, model, heads, encoder, stores["train"])

    def evaluate() -> Metrics:
        held_out = stores["validation"]
        tiles = range(min(plan.evaluate_tiles, len(held_out)))
        seen, blind = in_training(model, tokenizer, plan.size, held_out, tiles, mpp=plan.mpp)
        truth = [held_out.truth[i]["findings"] for i in tiles]
        scores = slot_accuracy(truth, seen)
        return {"slots": scores, "blank": slot_accuracy(truth, blind)["macro"], "score": scores["macro"]}

    def keep_best(metrics: Metrics) -> None:
        save_checkpoint(out / "model", model, tokenizer, plan.size)
        write_text_atomic(out / "model.json", json.dumps(metrics, indent=1) + "\n")

    stage = Stage(
        out / "joint",
        {"visual": model.model.visual, "model": model, "heads": heads},
        joint.loss,
        evaluate,
        keep_best,
        rates={"visual": plan.visual_rate},
    )
    return run(stage, plan.joint, until=until)
