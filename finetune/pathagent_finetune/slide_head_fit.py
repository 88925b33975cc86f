"""Fitting a slide head's arrays on bags of tile features, and its temperature on held-out logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.encoders.reading import unit
from pathagent_tools.encoders.slide_head import Pooling

Floats = NDArray[np.float32]
HIDDEN: Final = 32
STEPS: Final = 200
PENALTY: Final = 1e-2
"""Of the squared weights: few slides, many dimensions."""


def fit(
    bags: Sequence[Floats], labels: NDArray[Any], pooling: Pooling, classes: int, seed: int
) -> dict[str, Floats]:
    """Arrays of a `SlideHead` for bags [n_i, D] and labels [B] (0 … classes - 1); rare classes weigh more."""
    import torch

    tiles = [unit(b) for b in bags]
    everything = np.concatenate(tiles)
    centre, scale = everything.mean(0), everything.std(0) + 1e-6
    x = [torch.from_numpy(np.asarray((t - centre) / scale, np.float32)) for t in tiles]
    y = torch.from_numpy(labels.astype(np.int64))
    counts = np.bincount(labels, minlength=classes)
    balance = torch.from_numpy((len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32))
    draw = torch.Generator().manual_seed(seed)
    dim = everything.shape[1]
    made = {"weight": torch.zeros((classes, dim)), "bias": torch.zeros(classes)}
    if pooling == "attention":
        for name, shape in (("tanh", (HIDDEN, dim)), ("gate", (HIDDEN, dim)), ("attention", (HIDDEN,))):
            made[name] = torch.randn(shape, generator=draw) * (shape[-1] ** -0.5)
    for value in made.values():
        value.requires_grad_(True)
    optimiser = torch.optim.Adam(made.values(), lr=0.02)
    for _ in range(STEPS):
        optimiser.zero_grad()
        pooled = torch.stack([_pool(t, made) for t in x])
        logits = pooled @ made["weight"].T + made["bias"]
        loss = torch.nn.functional.cross_entropy(logits, y, weight=balance)
        loss = loss + PENALTY * sum((made[n] ** 2).sum() for n in made if n != "bias")
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    learnt = {name: value.detach().numpy() for name, value in made.items()}
    return {"centre": centre.astype(np.float32), "scale": scale.astype(np.float32), **learnt}


def _pool(tiles: Any, made: dict[str, Any]) -> Any:
    if "attention" not in made:
        return tiles.mean(0)
    import torch

    gated = torch.tanh(tiles @ made["tanh"].T) * torch.sigmoid(tiles @ made["gate"].T)
    return torch.softmax(gated @ made["attention"], 0) @ tiles


def temperature(logits: Floats, labels: NDArray[Any]) -> float:
    """The number that logits [n, C] are divided by to make their cross-entropy least, 0.05 … 20.

    Source: Guo et al. 2017 (arXiv:1706.04599).
    """
    grid = np.geomspace(0.05, 20, 241)
    losses = [-np.log(softmax(logits / t)[np.arange(len(labels)), labels] + 1e-12).mean() for t in grid]
    return float(grid[int(np.argmin(losses))])


def softmax(logits: Floats) -> Floats:
    """Rows that sum to 1."""
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exp / exp.sum(1, keepdims=True), np.float32)
