"""The contrastive loss with exact truth, and colour and orientation augmentation of tiles."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

WHITE: Final = 255.0


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, true: Tensor, unknown: Tensor) -> Tensor:
    """Soft-target CLIP loss of images [N, D] and texts [M, D].

    `true` [N, M]: the caption fits the tile. A row's target is shared evenly among all that fit, so two
    tiles with the same findings never push each other's captions away. `unknown` pairs are left out.
    """
    logits = (
        scale * torch.nn.functional.normalize(images, dim=-1) @ torch.nn.functional.normalize(texts, dim=-1).T
    )
    logits = logits.masked_fill(unknown & ~true, float("-inf"))
    return (_shared_cross_entropy(logits, true) + _shared_cross_entropy(logits.T, true.T)) / 2


def _shared_cross_entropy(logits: Tensor, true: Tensor) -> Tensor:
    logp = logits.log_softmax(-1).masked_fill(~true, 0.0)
    counts = true.sum(-1)
    rows = counts > 0
    return -(logp.sum(-1)[rows] / counts[rows]).mean()


def draw_turns(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(quarter turns 0..3 [n], mirrored [n] bool): one of the eight orientations for each tile."""
    return torch.randint(0, 4, (n,), generator=generator), torch.rand(n, generator=generator) < 0.5


def orient(grids: Tensor, turns: Tensor, mirrored: Tensor) -> Tensor:
    """Turn, then mirror each of [N, H, W, C] by its own orientation."""
    turned = torch.stack([torch.rot90(g, int(k), (0, 1)) for g, k in zip(grids, turns, strict=True)])
    return torch.where(mirrored[:, None, None, None], turned.flip(2), turned)


def restain(tiles: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 [N, H, W, 3] → float [N, 3, H, W] 0..255 in another stain and light.

    Colour changes as it does between laboratories: optical density through a 3 × 3 matrix near identity,
    then another white point. Drawn by a generator of the CPU, wherever the tiles are.
    """
    n, on = len(tiles), tiles.device
    x = tiles.permute(0, 3, 1, 2).to(torch.float32)
    mix = torch.eye(3) + 0.04 * torch.randn(n, 3, 3, generator=generator)
    mix = mix * (1 + 0.04 * torch.randn(n, 1, 1, generator=generator))
    white = 1 + 0.02 * torch.randn(n, 3, 1, generator=generator)
    density = -torch.log((x + 1.0) / (WHITE + 1.0)).flatten(2)
    light = torch.exp(-torch.bmm(mix.to(on), density)) * white.to(on)
    return (light * (WHITE + 1.0) - 1.0).clamp(0.0, WHITE).view_as(x)
