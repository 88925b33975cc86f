"""What tile features say: classes by words, relevance to a question, anomaly without one.

Every function takes un-normalised features [N, D] and normalises them itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import SlideEncoder

Floats = NDArray[np.float32]
_PROTOTYPES: Final[WeakKeyDictionary[SlideEncoder, dict[Hashable, Floats]]] = WeakKeyDictionary()
DEFAULT_LOGIT_SCALE: Final = 50.0
NEIGHBOURS: Final = 8
GRAVE: Final = 0.8
"""Classes of at least this abnormality are disease to `suspicion`: tumour and dysplasia."""
SUSPICION_RANGE: Final = (-3.0, 20.0)
MIN_SPREAD: Final = 0.15
"""Cosine range of a slide below which similarities count as flat: noise is not stretched to 0..1."""


class TileClass(Frozen):
    """One class in words. `abnormality` 0..1: how much a pathologist would want to look at it."""

    abnormality: float = Field(ge=0, le=1)
    phrases: tuple[str, ...] = Field(min_length=1)


class ClassTable(Frozen):
    """The tile classes and the sentences that their phrases are put into; artifacts, `none` among them."""

    version: int
    templates: tuple[str, ...] = Field(min_length=1)
    classes: dict[str, TileClass]
    artifacts: dict[str, tuple[str, ...]]


@cache
def class_table() -> ClassTable:
    """The classes that ship with the package (`classes.yaml`)."""
    import yaml

    text = (files("pathagent_tools.encoders") / "classes.yaml").read_text(encoding="utf-8")
    return ClassTable.model_validate(yaml.safe_load(text))


def class_keys() -> list[str]:
    """Names of the default classes, in the order of `zero_shot`'s columns."""
    return list(class_table().classes)


def text_prototypes(
    encoder: SlideEncoder, phrases: Mapping[str, Sequence[str]], templates: Sequence[str] = ("{}",)
) -> Floats:
    """[C, D] unit vectors: each class is the mean over its phrasings × templates, normalised again.

    Kept for as long as the encoder lives: the words of a run are the same for every tile that it reads.
    UserError where there are no classes, or one has no phrasing.
    """
    key = (tuple((name, tuple(texts)) for name, texts in phrases.items()), tuple(templates))
    kept = _PROTOTYPES.setdefault(encoder, {})
    if key not in kept:
        kept[key] = _prototypes(encoder, phrases, templates)
    return kept[key]


def _prototypes(
    encoder: SlideEncoder, phrases: Mapping[str, Sequence[str]], templates: Sequence[str]
) -> Floats:
    empty = [key for key, texts in phrases.items() if not texts]
    if not phrases or empty:
        named = f"class {empty[0]!r} has no phrasing" if empty else "no classes were given"
        raise UserError(f"Zero-shot needs at least one phrasing per class: {named}.")
    texts = [t.format(p) for group in phrases.values() for p in group for t in templates]
    vectors = unit(encoder.encode_texts(texts))
    ends = np.cumsum([len(group) * len(templates) for group in phrases.values()])
    return unit(np.stack([part.mean(0) for part in np.split(vectors, ends[:-1])]))


def zero_shot(
    features: Floats,
    encoder: SlideEncoder,
    phrases: Mapping[str, Sequence[str]] | None = None,
    *,
    templates: Sequence[str] | None = None,
) -> Floats:
    """[N, D] → [N, C] class probabilities: softmax of scaled cosines. They rank; they are not calibrated.

    phrases: class → phrasings; the default classes of `class_keys()` where None.
    """
    table = class_table()
    if phrases is None:
        phrases = {key: c.phrases for key, c in table.classes.items()}
    prototypes = text_prototypes(encoder, phrases, templates or table.templates)
    logits = _scale(encoder) * unit(features) @ prototypes.T
    exp = np.exp(logits - logits.max(1, keepdims=True)) if len(logits) else logits
    return np.asarray(exp / exp.sum(1, keepdims=True), np.float32)


def hints(features: Floats, encoder: SlideEncoder) -> list[str]:
    """The best default class of each tile, in words."""
    keys = class_keys()
    return [keys[i] for i in zero_shot(features, encoder).argmax(1)]


def relevance(features: Floats, encoder: SlideEncoder, text: str) -> Floats:
    """[N] 0..1: likeness of each tile to a question or a phrase, relative to the slide.

    0 is the slide's least similar tile, 1 its most similar one; where the whole slide is about equally
    similar (cosines within 0.15) values stay small instead of stretching noise.
    """
    if len(features) == 0:
        return np.empty(0, np.float32)
    cosines = unit(features) @ unit(encoder.encode_texts([text]))[0]
    low, high = float(cosines.min()), float(cosines.max())
    return np.asarray((cosines - low) / max(high - low, MIN_SPREAD), np.float32)


def anomaly(
    features: Floats,
    encoder: SlideEncoder,
    *,
    weights: Mapping[str, float] | None = None,
    among: Floats | None = None,
) -> Floats:
    """[N] 0..1 without any question: how abnormal the tile's class is × how unlike the slide's mass it is.

    The second factor runs from 0.5 (in the thick of the slide) to 1 (alone), so that a slide that is
    tumour throughout keeps high values. weights: class key → abnormality instead of `classes.yaml`'s.
    among: [M, D] the slide's tiles, where `features` are others of it or more.
    """
    if len(features) == 0:
        return np.empty(0, np.float32)
    classes = class_table().classes
    abnormality = np.array([(weights or {}).get(k, c.abnormality) for k, c in classes.items()], np.float32)
    expected = zero_shot(features, encoder) @ abnormality
    return np.asarray(np.clip(expected * (0.5 + 0.5 * _apartness(features, among)), 0, 1), np.float32)


def suspicion(features: Floats, encoder: SlideEncoder, *, among: Floats | None = None) -> Floats:
    """[N] how much more a tile looks like disease than its slide does: ranks, and is no probability.

    The log-odds of the classes of an abnormality of at least 0.8 against all others, in units of the mean
    deviation from the slide's median, clipped to -3..20. Unlike `anomaly` it does not saturate where the
    encoder is sure, and a stain that shifts the whole slide shifts nothing. among: as in `anomaly`.
    """
    if len(features) == 0:
        return np.empty(0, np.float32)
    grave = np.array([c.abnormality >= GRAVE for c in class_table().classes.values()])

    def odds(of: Floats) -> Floats:
        p = zero_shot(of, encoder)
        return np.asarray(np.log(p[:, grave].sum(1) + 1e-6) - np.log(p[:, ~grave].sum(1) + 1e-6))

    here = odds(features)
    slide = here if among is None else odds(among)
    middle = np.median(slide)
    spread = max(float(np.abs(slide - middle).mean()), 1e-3)
    return np.asarray(np.clip((here - middle) / spread, *SUSPICION_RANGE), np.float32)


def soundness(features: Floats, encoder: SlideEncoder) -> Floats:
    """[N] 0..1: how surely no fold, blur, pen, bubble or crush lies over a tile, by words."""
    artifacts = class_table().artifacts
    p = zero_shot(features, encoder, artifacts, templates=("{}",))
    return np.asarray(p[:, list(artifacts).index("none")], np.float32)


def _apartness(features: Floats, among: Floats | None) -> Floats:
    """[N] 0..1: rank among the slide's tiles of the distance to their mass (mean of the nearest half)."""
    vectors = unit(features)
    slide = vectors if among is None else unit(among)
    n = len(slide)
    if n < NEIGHBOURS:
        return np.full(len(features), 0.5, np.float32)
    centre = slide.mean(0)
    near = slide[np.argsort(-(slide @ centre), kind="stable")[: max(1, n // 2)]]
    mass = unit(near.mean(0)[None])[0]
    distance = 1 - slide @ mass
    if among is not None:
        places = np.searchsorted(np.sort(distance), 1 - vectors @ mass)
        return np.asarray(np.minimum(places / (n - 1), 1), np.float32)
    rank = np.empty(n, np.float32)
    rank[np.argsort(distance, kind="stable")] = np.arange(n, dtype=np.float32) / (n - 1)
    return rank


def unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-12), np.float32)


def _scale(encoder: SlideEncoder) -> float:
    return float(getattr(encoder, "logit_scale", DEFAULT_LOGIT_SCALE))
