"""Training batches of the generator: fields turned about, conditions given or left out at random.

Each condition is dropped independently, so that the network serves any mixture of them. The reference
image is nothing, the field with holes, a coarse copy, or its exact partner of another stain, with an
artifact, with another lesion.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pathagent_finetune.generator_store import CHANGED, MEMBRANES, NUCLEI, FieldStore
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.generators.conditions import REFERENCE_KINDS, WORD_SLOTS, ReferenceKind
from pathagent_tools.generators.network import (
    FOLD,
    FOLDED,
    MAP_CHANNELS,
    PICTURE,
    Batch,
    Generator,
    dial_numbers,
    map_tensor,
    reference_tensor,
    stain_numbers,
)

GROUP: Final = 8
KEEP_WORD, KEEP_DIAL, KEEP_STAIN = 0.7, 0.6, 0.75
USE_PARTNER, USE_HOLES, USE_COARSE = 0.42, 0.12, 0.06
_REPAIRS: Final = ("holes", "low resolution", "stain", "artifact")
_PARTNERS: Final[dict[str, ReferenceKind]] = {"stain": "stain", "artifact": "artifact", "lesion": "lesion"}


class FieldBatches:
    """Draws (clean images [n, 3, px, px] normalised, conditions) from a store."""

    def __init__(self, store: FieldStore, net: Generator) -> None:
        self.store, self.normalise = store, net.normalise
        self.codes = [row["stain"] for row in store.truth]

    def draw(self, indices: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Batch]:
        """Fields of these indices, each turned about and with conditions drawn by `rng`."""
        drawn = [self._one(int(i), rng) for i in indices]
        stacked = {key: torch.stack([d[key] for d in drawn]) for key in drawn[0]}
        return stacked.pop("image"), Batch(**stacked)

    def _one(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        truth = self.store.truth[index]
        turn = rng.random(3) < 0.5
        names = ("images", "partners", "labels", "layers")
        image, partner, labels, layers = (
            torch.from_numpy(turned(self.store.get(n, index), turn).copy()) for n in names
        )
        fibres = torch.from_numpy(turned_angles(self.store.get("fibres", index) / 255 * np.pi, turn))
        clean = self.normalise(image.permute(2, 0, 1)[None])[0]
        other = self.normalise(partner.permute(2, 0, 1)[None])[0]
        kind = draw_kind(truth["partner"], rng)
        reference = self._reference(kind, clean, other, (layers & CHANGED) > 0, rng)
        repair = kind in _REPAIRS
        return {
            "image": clean,
            "words": torch.tensor(draw_words(truth["findings"], rng, none=0.6 if repair else 0.12)),
            "dials": torch.tensor(draw_dials(truth, rng, none=0.7 if repair else 0.3)),
            "stain": torch.tensor(self._stain(index, rng, keep=0.92 if kind == "stain" else KEEP_STAIN)),
            "mpp": torch.tensor(float(truth["mpp"])),
            "kind": torch.tensor(REFERENCE_KINDS.index(kind)),
            "maps": self._maps(labels, layers, fibres, rng, given=0.25 if kind != "none" else 0.55),
            "reference": reference,
        }

    def _stain(self, index: int, rng: np.random.Generator, *, keep: float) -> list[float]:
        """The code of another random part of the field's slide, as a user's reference tile would be."""
        first = index - index % GROUP
        codes = [c for c in self.codes[first : first + GROUP] if c is not None]
        if not codes or rng.random() > keep:
            return stain_numbers(None)
        chosen = rng.permutation(len(codes))[: int(rng.integers(1, 4))]
        mean = np.mean([codes[i] for i in chosen], axis=0)
        return stain_numbers([float(v) for v in mean])

    def _maps(
        self, labels: Tensor, layers: Tensor, fibres: Tensor, rng: np.random.Generator, *, given: float
    ) -> Tensor:
        if rng.random() > given:
            return torch.zeros(MAP_CHANNELS, labels.shape[0] // FOLD, labels.shape[1] // FOLD)
        keep = rng.random(3) < (0.8, 0.7, 0.7)
        return map_tensor(
            labels.long(),
            (layers & NUCLEI) > 0 if keep[0] else None,
            (layers & MEMBRANES) > 0 if keep[1] else None,
            fibres if keep[2] else None,
        )

    def _reference(
        self, kind: ReferenceKind, clean: Tensor, other: Tensor, changed: Tensor, rng: np.random.Generator
    ) -> Tensor:
        px = clean.shape[-1]
        if kind == "none":
            return torch.zeros(PICTURE + FOLDED + 1, px // FOLD, px // FOLD)
        everything = torch.ones(px, px)
        if kind == "holes":
            known = torch.from_numpy(~draw_holes(px, rng)).float()
            return reference_tensor(clean * known, known)
        if kind == "low resolution":
            return reference_tensor(coarse(clean, int(rng.choice((2, 4, 4, 8)))), everything)
        if kind == "stain":
            return reference_tensor(other, everything)
        grow = int(rng.integers(0, 5 if kind == "artifact" else 9))
        wide = F.max_pool2d(changed.float()[None], 2 * grow + 1, 1, grow)[0]
        return reference_tensor(other, 1 - wide)


def draw_kind(partner: str, rng: np.random.Generator) -> ReferenceKind:
    """What the reference image is."""
    u = rng.random()
    if u < USE_PARTNER:
        return _PARTNERS[partner]
    if u < USE_PARTNER + USE_HOLES:
        return "holes"
    return "low resolution" if u < USE_PARTNER + USE_HOLES + USE_COARSE else "none"


def draw_words(findings: dict[str, Any], rng: np.random.Generator, *, none: float) -> list[int]:
    """Index of each slot's word, 0 where it is left out; everything is left out with probability `none`."""
    if rng.random() < none:
        return [0] * len(WORD_SLOTS)
    keep = rng.random(len(WORD_SLOTS)) < KEEP_WORD
    return [SLOTS[s].index(findings[s]) + 1 if k else 0 for s, k in zip(WORD_SLOTS, keep, strict=True)]


def draw_dials(truth: dict[str, Any], rng: np.random.Generator, *, none: float) -> list[float]:
    """Scaled dials with presence. Size and pleomorphism are unknown where there is no epithelium."""
    if rng.random() < none:
        return dial_numbers({})
    values = {"density": truth["density"], "mitoses": truth["mitoses"]}
    if truth["area_um2"] > 0:
        values |= {"size": truth["area_um2"], "pleomorphism": truth["pleomorphism"]}
    return dial_numbers({k: float(v) for k, v in values.items() if rng.random() < KEEP_DIAL})


def draw_holes(px: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[px, px]: one to three ellipses, boxes or bands, or one side of the field."""
    ys, xs = np.mgrid[0:px, 0:px]
    holes = np.zeros((px, px), bool)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, px, 2)
        angle, a, b = rng.uniform(0, np.pi), *rng.uniform(0.06 * px, 0.38 * px, 2)
        u = np.cos(angle) * (xs - x) + np.sin(angle) * (ys - y)
        v = np.cos(angle) * (ys - y) - np.sin(angle) * (xs - x)
        form = int(rng.integers(4))
        if form == 0:
            holes |= (u / a) ** 2 + (v / b) ** 2 < 1
        elif form == 1:
            holes |= (np.abs(u) < a) & (np.abs(v) < b)
        elif form == 2:
            holes |= np.abs(v + 0.002 * u * u) < 0.4 * b
        else:
            holes |= u > 0.2 * px
    if not holes.any():
        holes[px // 4 : px // 2, px // 4 : px // 2] = True
    return holes


def coarse(image: Tensor, factor: int) -> Tensor:
    """[3, h, w] averaged over `factor` pixels a side and brought back bilinearly."""
    small = F.avg_pool2d(image[None], factor)
    return F.interpolate(small, scale_factor=factor, mode="bilinear", align_corners=False)[0]


def turned(array: NDArray[Any], turn: NDArray[np.bool_]) -> NDArray[Any]:
    """A map or picture mirrored left-right, mirrored top-bottom, transposed, as `turn` says."""
    array = array[:, ::-1] if turn[0] else array
    array = array[::-1] if turn[1] else array
    return array.swapaxes(0, 1) if turn[2] else array


def turned_angles(angles: NDArray[np.float64], turn: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Directions (radians) of a field that is turned about like `turned`."""
    angles = turned(angles, turn)
    if turn[0] != turn[1]:
        angles = -angles
    return np.mod(np.pi / 2 - angles if turn[2] else angles, np.pi).astype(np.float32)
