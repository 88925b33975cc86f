"""Masks: what was said is the path of an image, so is the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pathagent_eval.bench.column import Column, of_items
from pathagent_eval.bench.item import Item, Said
from pathagent_tools.core.scoring import masks
from pathagent_tools.core.scoring.masks import Mask
from pathagent_tools.core.scoring.score import Score

EVERYTHING = "everything"
"""Said in place of a path: the whole picture is inside."""


def dice(items: Sequence[Item], said: Sequence[Said]) -> Column:
    """Dice of each image."""
    return _overlap(items, said, masks.dice)


def iou(items: Sequence[Item], said: Sequence[Said]) -> Column:
    """Intersection over union of each image."""
    return _overlap(items, said, masks.iou)


def read_mask(path: Path, inside: tuple[int, int]) -> Mask:
    """[H, W] whether the grey value lies in `inside` (both ends included)."""
    from PIL import Image

    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"))
    return (grey >= inside[0]) & (grey <= inside[1])


def _overlap(
    items: Sequence[Item],
    said: Sequence[Said],
    score: Callable[[Sequence[Mask | None], Sequence[Mask]], Score],
) -> Column:
    truth = [read_mask(Path(item.reference), tuple(item.truth["inside"])) for item in items]
    ours = [_said_mask(s, t.shape) for s, t in zip(said, truth, strict=True)]
    return of_items(score(ours, truth))


def _said_mask(said: Said, shape: tuple[int, ...]) -> Mask | None:
    """Anything above 127 is inside; None where there is no readable mask of the right size."""
    from PIL import UnidentifiedImageError

    if not said.scored_text:
        return None
    if said.scored_text == EVERYTHING:
        return np.ones(shape, np.bool_)
    try:
        mask = read_mask(Path(said.scored_text), (128, 255))
    except (OSError, UnidentifiedImageError):
        return None
    return mask if mask.shape == shape else None
