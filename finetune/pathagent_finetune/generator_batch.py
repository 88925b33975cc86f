"""Training batches of the generator: fields turned about, conditions given or left out at random.

Each condition is dropped independently, so that the network serves any mixture of them. The reference
image is nothing, the field with holes, a coarse copy, or its exact partner of another stain, with an
artifact, with another lesion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from torch import Tensor
from torch.nn import functional as F

from pathagent_finetune.generator_store import CHANGED, MEMBRANES, NUCLEI, FieldStore
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.generators.conditions import REFERENCE_KINDS, WORD_SLOTS, ReferenceKind
from pathagent_tools.generators.network import (
    Batch,
    Generator,
    dial_numbers,
    map_tensor,
    reference_tensor,
    stain_numbers,
)

GROUP: Final = 8
KEEP_WORD, KEEP_DIAL, KEEP_STAIN = 0.7, 0.6, 0.75
COARSE: Final = (2, 4, 8)
"""Factors of a coarse reference image."""
USE_PARTNER, USE_HOLES, USE_COARSE = 0.42, 0.12, 0.06
_REPAIRS: Final = ("holes", "low resolution", "stain", "artifact")
_PARTNERS: Final[dict[str, ReferenceKind]] = {"stain": "stain", "artifact": "artifact", "lesion": "lesion"}


@dataclass(frozen=True)
class DrawnFields:
    """What was drawn for n fields: bytes and choices, little enough to travel between processes.

    image, partner [n, px, px, 3] uint8; labels, layers [n, px, px] uint8; fibres [n, px/4, px/4] radians;
    given [n, 4] as of `map_tensor`. kind [n]; known [n, px, px] bool, factor [n]: of the reference image,
    factor 1 where it is not coarse. words, dials, stain, mpp as in `Batch`.
    """

    image: Tensor
    partner: Tensor
    labels: Tensor
    layers: Tensor
    fibres: Tensor
    given: Tensor
    kind: Tensor
    known: Tensor
    factor: Tensor
    words: Tensor
    dials: Tensor
    stain: Tensor
    mpp: Tensor

    def tensors(self, net: Generator, device: torch.device | str = "cpu") -> tuple[Tensor, Batch]:
        """(clean images [n, 3, px, px] normalised, conditions), made on the device."""
        on = {name: value.to(device) for name, value in vars(self).items()}
        clean, other = (net.normalise(on[name].permute(0, 3, 1, 2)) for name in ("image", "partner"))
        nuclei, membranes = ((on["layers"] & bit) > 0 for bit in (NUCLEI, MEMBRANES))
        maps = map_tensor(on["labels"].long(), nuclei, membranes, on["fibres"], on["given"])
        kind, known = on["kind"].view(-1, 1, 1, 1), on["known"][:, None]
        picture = torch.where(_any_of(kind, _PARTNERS.values()), other, clean)
        picture = torch.where(_any_of(kind, ["holes"]) & ~known, 0.0, picture)
        for factor in COARSE:
            those = (self.factor == factor).nonzero()[:, 0].to(device)
            if len(those):
                picture[those] = coarse(clean[those], factor)
        reference = reference_tensor(picture, on["known"]) * ~_any_of(kind, ["none"])
        told = {name: on[name] for name in ("words", "dials", "stain", "mpp", "kind")}
        return clean, Batch(maps=maps, reference=reference, **told)


class FieldBatches:
    """Draws fields from a store with what is asked of them."""

    def __init__(self, store: FieldStore) -> None:
        self.store = store
        self.codes = [row["stain"] for row in store.truth]

    def draw(self, indices: NDArray[np.int64], rng: np.random.Generator) -> DrawnFields:
        """Fields of these indices, each turned about and with conditions drawn by `rng`."""
        drawn = [self._one(int(i), rng) for i in indices]
        return DrawnFields(**{key: torch.from_numpy(np.stack([d[key] for d in drawn])) for key in drawn[0]})

    def _one(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        truth = self.store.truth[index]
        turn = rng.random(3) < 0.5
        names = {"image": "images", "partner": "partners", "labels": "labels", "layers": "layers"}
        field = {key: turned(self.store.get(name, index), turn) for key, name in names.items()}
        kind = draw_kind(truth["partner"], rng)
        known, factor = _reference(kind, (field["layers"] & CHANGED) > 0, rng)
        repair = kind in _REPAIRS
        chosen = {
            "kind": REFERENCE_KINDS.index(kind),
            "factor": factor,
            "words": draw_words(truth["findings"], rng, none=0.6 if repair else 0.12),
            "dials": np.array(draw_dials(truth, rng, none=0.7 if repair else 0.3), np.float32),
            "stain": np.array(
                self._stain(index, rng, keep=0.92 if kind == "stain" else KEEP_STAIN), np.float32
            ),
            "mpp": np.array(truth["mpp"], np.float32),
            "given": _given(rng, share=0.25 if kind != "none" else 0.55),
        }
        fibres = turned_angles(self.store.get("fibres", index) / 255 * np.pi, turn)
        return {**field, **{k: np.asarray(v) for k, v in chosen.items()}, "fibres": fibres, "known": known}

    def _stain(self, index: int, rng: np.random.Generator, *, keep: float) -> list[float]:
        """The code of another random part of the field's slide, as a user's reference tile would be."""
        first = index - index % GROUP
        codes = [c for c in self.codes[first : first + GROUP] if c is not None]
        if not codes or rng.random() > keep:
            return stain_numbers(None)
        chosen = rng.permutation(len(codes))[: int(rng.integers(1, 4))]
        mean = np.mean([codes[i] for i in chosen], axis=0)
        return stain_numbers([float(v) for v in mean])


def _given(rng: np.random.Generator, *, share: float) -> NDArray[np.bool_]:
    """What is told of the layout: itself, nuclei, membranes, fibres."""
    if rng.random() > share:
        return np.zeros(4, bool)
    return np.concatenate([[True], rng.random(3) < (0.8, 0.7, 0.7)])


def _reference(
    kind: ReferenceKind, changed: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], int]:
    """(what is known of the reference image, by what factor it is coarse)."""
    px = changed.shape[-1]
    if kind == "holes":
        return ~draw_holes(px, rng), 1
    if kind == "low resolution":
        return np.ones((px, px), bool), int(rng.choice((2, 4, 4, 8)))
    if kind not in ("artifact", "lesion"):
        return np.ones((px, px), bool), 1
    grow = int(rng.integers(0, 5 if kind == "artifact" else 9))
    return ~maximum_filter(changed, 2 * grow + 1, mode="constant"), 1


def _any_of(kind: Tensor, names: Iterable[ReferenceKind]) -> Tensor:
    return torch.isin(kind, torch.tensor([REFERENCE_KINDS.index(name) for name in names], device=kind.device))


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
    """[n, 3, h, w] averaged over `factor` pixels a side and brought back bilinearly."""
    small = F.avg_pool2d(image, factor)
    return F.interpolate(small, scale_factor=factor, mode="bilinear", align_corners=False)


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
