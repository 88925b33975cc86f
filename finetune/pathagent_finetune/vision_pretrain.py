"""A head start for seeing: the visual tower learns the tiles before it learns to talk about them.

The tower is the `visual` of the Qwen3-VL itself, so its weights move into the VLM unchanged; only the
heads below are thrown away. Three kinds of target: for each 16 px patch the share of every tissue class
(dense, from the label map), for each tile its slots, and nuclei in numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune.loop import Budget, Metrics, Stage, run
from pathagent_finetune.tilestore import TileStore
from pathagent_finetune.vision_batch import augment, encode, to_patches, turn
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.vocabulary import SLOTS

if TYPE_CHECKING:
    from torch import Tensor, nn

LABELS = 14
NUMBERS = ("nuclei", "area_um2", "pleomorphism", "mitoses")


def build_heads(width: int, *, seed: int = 0) -> nn.Module:
    """Heads on the image tokens [N, T, width]: dense classes, slots and numbers."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.ModuleDict(
            {
                "norm": nn.LayerNorm(width),
                "cells": nn.Linear(width, 4 * LABELS),
                "hidden": nn.Linear(width, 2 * width),
                "slots": nn.Linear(4 * width, sum(map(len, SLOTS.values()))),
                "numbers": nn.Linear(4 * width, len(NUMBERS)),
            }
        )


def read_heads(heads: Any, merged: Tensor, deep: list[Tensor]) -> dict[str, Tensor]:
    """Logits: `cells` [N, T, 4, 14], one [N, values] per slot name, `numbers` [N, 4]."""
    import torch

    tokens = heads["norm"](sum(deep, merged))
    hidden = torch.nn.functional.gelu(heads["hidden"](tokens))
    pooled = torch.cat([hidden.mean(dim=1), hidden.amax(dim=1)], dim=-1)
    cut = heads["slots"](pooled).split([len(v) for v in SLOTS.values()], dim=-1)
    out = dict(zip(SLOTS, cut, strict=True))
    out["cells"] = heads["cells"](tokens).unflatten(-1, (4, LABELS))
    out["numbers"] = heads["numbers"](pooled)
    return out


def cell_shares(labels: NDArray[np.uint8], patch_px: int = 16) -> NDArray[np.float32]:
    """Share of each class in each patch: [N, px, px] → [N, T, 4, 14] in the order of the image tokens."""
    n, px = labels.shape[:2]
    side = px // (2 * patch_px)
    cut = labels.reshape(n, side, 2, patch_px, side, 2, patch_px).transpose(0, 1, 4, 2, 5, 3, 6)
    cut = cut.reshape(n, side * side, 4, patch_px * patch_px)
    return np.stack([(cut == k).mean(axis=-1) for k in range(LABELS)], axis=-1).astype(np.float32)


def targets(store: TileStore) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Slot indices [N, 8] and scaled numbers [N, 4] of a whole store."""
    slots = np.array(
        [[values.index(t["findings"][s]) for s, values in SLOTS.items()] for t in store.truth], np.int64
    )
    raw = np.array([[t[name] for name in NUMBERS] for t in store.truth], np.float32)
    scale = np.array([400.0, 100.0, 0.5, 4.0], np.float32)
    return slots, np.sqrt(np.maximum(raw, 0) / scale)


def loss_of(out: dict[str, Tensor], cells: Tensor, slots: Tensor, numbers: Tensor) -> tuple[Tensor, Metrics]:
    """Dense cross-entropy + mean slot cross-entropy + squared error of the numbers."""
    import torch
    from torch.nn.functional import cross_entropy, mse_loss

    dense = -(cells * torch.log_softmax(out["cells"].float(), dim=-1)).sum(-1).mean()
    each = [cross_entropy(out[s].float(), slots[:, i], label_smoothing=0.02) for i, s in enumerate(SLOTS)]
    slot = torch.stack(each).mean()
    number = mse_loss(out["numbers"].float(), numbers)
    return dense + 2 * slot + number, {
        "dense": dense.detach(),
        "slots": slot.detach(),
        "numbers": number.detach(),
    }


def slot_scores(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> dict[str, float]:
    """Balanced accuracy per slot and their mean (`macro`)."""
    scores = {
        slot: balanced_accuracy([values[i] for i in truth[:, k]], [values[i] for i in guess[:, k]]).value
        for k, (slot, values) in enumerate(SLOTS.items())
    }
    return scores | {"macro": float(np.mean(list(scores.values())))}


def predict(visual: Any, heads: Any, images: Any, *, batch: int = 64) -> NDArray[np.int64]:
    """Slot indices [N, 8] of a sequence of tiles."""
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            patches = to_patches(np.stack([images[i] for i in range(start, min(start + batch, len(images)))]))
            out = read_heads(heads, *encode(visual, patches))
            found.append(torch.stack([out[s].argmax(-1) for s in SLOTS], dim=1).numpy())
    return np.concatenate(found)


def classified(visual: Any, heads: Any, store: TileStore) -> dict[str, float]:
    """Balanced accuracy per slot of the tower with its own heads: a supervised classifier on these tiles."""
    truth, _ = targets(store)
    scores = slot_scores(truth, predict(visual, heads, _Images(store)))
    return {name: round(value, 4) for name, value in scores.items()}


def tile_batch(
    store: TileStore, chosen: Sequence[int], rng: np.random.Generator, *, colour: float
) -> tuple[Tensor, Tensor]:
    """Augmented patches [N, P, C·p²] of these tiles and their class shares per patch [N, T, 4, 14]."""
    import torch

    images, turns = augment(np.stack([store.image(i) for i in chosen]), rng, colour=colour)
    labels = np.stack([turn(store.label(i), *t) for i, t in zip(chosen, turns, strict=True)])
    return to_patches(images), torch.from_numpy(cell_shares(labels))


def train_visual(
    visual: Any,
    heads: Any,
    train: TileStore,
    held_out: TileStore,
    folder: Path,
    budget: Budget,
    *,
    batch: int = 48,
    colour: float = 0.08,
    bf16: bool = True,
    until: float | None = None,
) -> bool:
    """Train `visual` and `heads` in place; False when the clock passed `until` first.

    `folder` receives the resumable state and the log, with balanced slot accuracies on `held_out`.
    """
    import torch

    slots, numbers = (torch.from_numpy(x) for x in targets(train))

    def loss(step: int) -> tuple[Tensor, Metrics]:
        rng = np.random.default_rng([budget.seed, 1, step])
        chosen = epoch_batch(len(train), batch, step, budget.seed)
        patches, cells = tile_batch(train, chosen, rng, colour=colour)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            out = read_heads(heads, *encode(visual, patches))
        return loss_of(out, cells, slots[chosen], numbers[chosen])

    def evaluate() -> Metrics:
        scores = classified(visual, heads, held_out)
        return scores | {"score": scores["macro"]}

    stage = Stage(folder, {"visual": visual, "heads": heads}, loss, evaluate, lambda _: None)
    return run(stage, budget, until=until)


def epoch_batch(n: int, batch: int, step: int, seed: int) -> list[int]:
    """Which of `n` items step `step` sees: every item once an epoch, in an order of its own."""
    found: list[int] = []
    for k in range(step * batch, (step + 1) * batch):
        found.append(int(_order(n, k // n, seed)[k % n]))
    return found


@lru_cache(maxsize=4)
def _order(n: int, epoch: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 2, epoch]).permutation(n)


class _Images:
    """The images of a store as a sequence."""

    def __init__(self, store: TileStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.store.image(index)
