"""The embedded generator's network: a diffusers U-Net that estimates the clean image, and what it is told.

Rectified flow: x_t = t · x + (1 - t) · noise, t from 0 (noise) to 1 (image), x normalised to unit variance.
The U-Net sees the noisy image, a reference image and the layout, folded 4 × 4 pixels into channels; words,
dials, stain and resolution become one vector that is added to the time embedding. Its output is scaled as
in Karras et al. 2022, so that the network's target has unit variance at every noise level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.generators.conditions import (
    DIAL_SCALE,
    DIALS,
    LABELS,
    REFERENCE_KINDS,
    STAIN_NUMBERS,
    WORD_SLOTS,
    Conditions,
)

FOLD: Final = 4
"""Pixels a side that become one position of the network."""
FOLDED: Final = FOLD * FOLD
PICTURE: Final = 3 * FOLDED
MAP_CHANNELS: Final = 2 * FOLDED + len(LABELS) + 3 + 2
"""Nuclei and membranes folded, label shares, cos 2θ, sin 2θ, presence of fibres, of layout, of nuclei."""
INPUT_CHANNELS: Final = PICTURE + PICTURE + FOLDED + 1 + MAP_CHANNELS


class Shape(Frozen):
    """Sizes of the network. `mean`, `std`: of R, G, B (0..1) in the training fields."""

    channels: tuple[int, ...] = (96, 160, 224)
    layers: int = 2
    head: int = 32
    mean: tuple[float, float, float] = (0.75, 0.6, 0.75)
    std: tuple[float, float, float] = (0.15, 0.2, 0.13)


@dataclass
class Batch:
    """Conditions of n images as tensors. `vector` parts [n, …]; `maps` [n, MAP_CHANNELS, h/4, w/4];
    `reference` [n, PICTURE + FOLDED + 1, h/4, w/4] (folded picture, folded known-mask, presence)."""

    words: Tensor
    dials: Tensor
    stain: Tensor
    mpp: Tensor
    kind: Tensor
    maps: Tensor
    reference: Tensor


class Generator(nn.Module):
    """Conditions and a U-Net. `forward` gives the estimate of the clean, normalised image."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.shape = shape
        width = 4 * shape.channels[0]
        down = ("DownBlock2D",) * (len(shape.channels) - 1) + ("AttnDownBlock2D",)
        self.unet = UNet2DModel(
            in_channels=INPUT_CHANNELS,
            out_channels=PICTURE,
            block_out_channels=shape.channels,
            layers_per_block=shape.layers,
            down_block_types=down,
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (len(shape.channels) - 1),
            attention_head_dim=shape.head,
            class_embed_type="identity",
            resnet_time_scale_shift="scale_shift",
            norm_num_groups=16,
        )
        self.words = nn.ModuleList([nn.Embedding(len(SLOTS[s]) + 1, width) for s in WORD_SLOTS])
        self.dials = nn.Linear(2 * len(DIALS), width)
        self.stain = nn.Linear(STAIN_NUMBERS + 1, width)
        self.mpp = nn.Linear(2, width)
        self.kind = nn.Embedding(len(REFERENCE_KINDS), width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        for table in [*self.words, self.kind]:
            nn.init.normal_(table.weight, std=0.3)

    def embed(self, batch: Batch) -> Tensor:
        """[n, width]: everything that has no place in the image."""
        parts = [table(batch.words[:, i]) for i, table in enumerate(self.words)]
        parts += [self.dials(batch.dials), self.stain(batch.stain), self.kind(batch.kind)]
        parts.append(self.mpp(torch.stack([batch.mpp.log2(), batch.mpp.log2() ** 2], 1)))
        mixed: Tensor = self.mix(torch.stack(parts).sum(0))
        return mixed

    def forward(self, x: Tensor, t: Tensor, batch: Batch) -> Tensor:
        """x [n, 3, h, w] normalised, t [n] 0..1 → estimate of the clean image, same shape."""
        when = t.view(-1, 1, 1, 1)
        spread = when**2 + (1 - when) ** 2
        folded = F.pixel_unshuffle(x / spread.sqrt(), FOLD)
        given = torch.cat([folded, batch.reference, batch.maps], 1)
        given = given.contiguous(memory_format=torch.channels_last)
        out = self.unet(given, 1000 * (1 - t), class_labels=self.embed(batch)).sample
        raw = F.pixel_shuffle(out, FOLD)
        return when / spread * x + (1 - when) / spread.sqrt() * raw

    def normalise(self, image: Tensor) -> Tensor:
        """[n, 3, h, w] 0..255 → unit variance."""
        mean, std = (
            torch.tensor(v, device=image.device).view(1, 3, 1, 1) for v in (self.shape.mean, self.shape.std)
        )
        return (image.float() / 255 - mean) / std

    def pixels(self, x: Tensor) -> NDArray[np.uint8]:
        """[n, 3, h, w] normalised → [n, h, w, 3] uint8."""
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.shape.mean, self.shape.std))
        grey = ((x.float() * std + mean) * 255).round().clamp(0, 255)
        return np.asarray(grey.permute(0, 2, 3, 1).to(torch.uint8).numpy())


def batch_of(conditions: Sequence[Conditions], size: int, normalise: Any) -> Batch:
    """Requests for images of `size` px as tensors; `normalise` is that of the network."""
    return Batch(
        words=torch.tensor([[_word(c, s) for s in WORD_SLOTS] for c in conditions]),
        dials=torch.tensor([dial_numbers(c.dials) for c in conditions]),
        stain=torch.tensor([stain_numbers(c.stain) for c in conditions]),
        mpp=torch.tensor([c.mpp for c in conditions]),
        kind=torch.tensor(
            [REFERENCE_KINDS.index(c.reference.kind if c.reference else "none") for c in conditions]
        ),
        maps=torch.stack([_maps(c, size) for c in conditions]),
        reference=torch.stack([_reference(c, size, normalise) for c in conditions]),
    )


def dial_numbers(dials: Mapping[str, float]) -> list[float]:
    """Scaled value and presence of every dial."""
    out = []
    for name in DIALS:
        centre, spread = DIAL_SCALE[name]
        out += [(dials[name] - centre) / spread, 1.0] if name in dials else [0.0, 0.0]
    return out


def stain_numbers(code: Sequence[float] | None) -> list[float]:
    """The code and its presence."""
    return [*(v - 0.4 for v in code), 1.0] if code is not None else [0.0] * (STAIN_NUMBERS + 1)


def map_tensor(labels: Tensor, nuclei: Tensor, membranes: Tensor, fibres: Tensor, given: Tensor) -> Tensor:
    """[n, MAP_CHANNELS, h/4, w/4] of n layouts: labels [n, h, w] long, masks [n, h, w] bool, fibres
    [n, h/4, w/4] radians. given [n, 4] bool: whether layout, nuclei, membranes, fibres are told."""
    layout, *parts = given.float()[..., None, None].unbind(1)
    shares = F.avg_pool2d(F.one_hot(labels, len(LABELS)).permute(0, 3, 1, 2).float(), FOLD)
    spots, rims = (F.pixel_unshuffle(m[:, None].float(), FOLD) for m in (nuclei, membranes))
    one = torch.ones_like(shares[:, :1])
    along = torch.stack([(2 * fibres).cos(), (2 * fibres).sin(), one[:, 0]], 1)
    there = [part[:, None] for part in parts]
    told = [spots * there[0], rims * there[1], shares, along * there[2], one, one * there[0]]
    return torch.cat(told, 1) * layout[:, None]


def reference_tensor(picture: Tensor, known: Tensor) -> Tensor:
    """[n, PICTURE + FOLDED + 1, h/4, w/4]: picture [n, 3, h, w] normalised, known [n, h, w] bool."""
    folded = F.pixel_unshuffle(torch.cat([picture, known[:, None].to(picture)], 1), FOLD)
    return torch.cat([folded, torch.ones_like(folded[:, :1])], 1)


def _word(condition: Conditions, slot: str) -> int:
    word = condition.words.get(slot)
    return 0 if word is None else SLOTS[slot].index(word) + 1


def _maps(condition: Conditions, size: int) -> Tensor:
    layout = condition.layout
    if layout is None:
        return torch.zeros(MAP_CHANNELS, size // FOLD, size // FOLD)
    masks = (layout.nuclei, layout.membranes)
    fine = np.zeros((size // FOLD, size // FOLD), np.float32) if layout.fibres is None else layout.fibres
    given = torch.tensor([[True, *(m is not None for m in (*masks, layout.fibres))]])
    spots, rims = (
        torch.from_numpy(np.zeros(layout.labels.shape, bool) if m is None else np.array(m))[None]
        for m in masks
    )
    labels = torch.from_numpy(np.ascontiguousarray(layout.labels).astype(np.int64))[None]
    return map_tensor(labels, spots, rims, torch.from_numpy(np.array(fine))[None], given)[0]


def _reference(condition: Conditions, size: int, normalise: Any) -> Tensor:
    reference = condition.reference
    if reference is None:
        return torch.zeros(PICTURE + FOLDED + 1, size // FOLD, size // FOLD)
    image = torch.from_numpy(np.array(reference.image)).permute(2, 0, 1)[None]
    known = torch.from_numpy(np.array(reference.known))[None]
    picture = normalise(image)
    return reference_tensor(picture * known if reference.kind == "holes" else picture, known)[0]
