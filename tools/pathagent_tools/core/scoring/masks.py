"""Overlap of masks: Dice and intersection over union."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.scoring.score import Score

Mask = NDArray[Any]
"""[H, W], anything but 0 is inside."""


def dice(said: Sequence[Mask | None], truth: Sequence[Mask]) -> Score:
    """Mean over images of 2 |A ∩ B| / (|A| + |B|). Both empty is 1, a missing mask 0."""
    return _overlap("dice", lambda both, a, b: 2 * both / (a + b), said, truth)


def iou(said: Sequence[Mask | None], truth: Sequence[Mask]) -> Score:
    """Mean over images of |A ∩ B| / |A ∪ B|. Both empty is 1, a missing mask 0."""
    return _overlap("iou", lambda both, a, b: both / (a + b - both), said, truth)


def _overlap(
    name: str,
    formula: Callable[[int, int, int], float],
    said: Sequence[Mask | None],
    truth: Sequence[Mask],
) -> Score:
    if not truth or len(said) != len(truth):
        raise ValueError(f"needs one mask an image, at least one (got {len(said)}, {len(truth)})")
    items = []
    for ours, theirs in zip(said, truth, strict=True):
        if ours is None:
            items.append(0.0)
            continue
        if ours.shape != theirs.shape:
            raise ValueError(f"masks of {ours.shape} and {theirs.shape} px do not compare")
        a, b = ours != 0, theirs != 0
        both, n, m = int((a & b).sum()), int(a.sum()), int(b.sum())
        items.append(formula(both, n, m) if n + m else 1.0)
    return Score(
        name=name,
        value=float(np.mean(items)),
        items=tuple(items),
        signature=f"pathagent {name} of each image, mean; both empty = 1",
        missing=sum(m is None for m in said),
    )
