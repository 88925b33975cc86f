"""How well a VLM in training describes tiles: by its own answers, as a run would get them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathagent_finetune.architecture import VLMSize, save_checkpoint
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm import roles

BLANK = 243
"""Grey value of the blank image: that of the glass."""


def described(
    model: Any,
    tokenizer: Any,
    size: VLMSize,
    store: TileStore,
    tiles: Sequence[int],
    *,
    folder: Path,
    blank: bool = False,
) -> list[dict[str, Any]]:
    """The model's JSON for each tile, or for a blank image in its place.

    The model is saved to `folder` (removed afterwards) and answers through the in-process back end.
    """
    from pathagent_tools.vlm.inprocess import TransformersVLM

    save_checkpoint(folder, model, tokenizer, size)
    try:
        vlm = TransformersVLM(folder, tile_px=size.tile_px)
        nothing = np.full((size.tile_px, size.tile_px, 3), BLANK, np.uint8)
        shown = [nothing if blank else np.asarray(store.image(i)) for i in tiles]
        requests = [roles.describe(image, field_um=192) for image in shown]
        return [c.data for c in vlm.generate(requests)]
    finally:
        shutil.rmtree(folder)


def slot_accuracy(
    store: TileStore, tiles: Sequence[int], answers: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """Balanced accuracy per slot and their mean (`macro`)."""
    truth = [store.truth[i]["findings"] for i in tiles]
    scores = {
        slot: round(balanced_accuracy([t[slot] for t in truth], [a.get(slot) for a in answers]), 4)
        for slot in SLOTS
    }
    return scores | {"macro": round(float(np.mean(list(scores.values()))), 4)}
