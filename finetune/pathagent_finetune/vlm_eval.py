"""How well a VLM describes tiles: by its own answers, as a run would get them, beside its controls."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathagent_finetune.architecture import VLMSize, save_checkpoint
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.protocols import Image, VisionLanguageModel
from pathagent_tools.core.records import Measurement
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.scoring.report import values
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT
from pathagent_tools.vlm import roles

BLANK = 243
"""Grey value of the blank image: that of the glass."""

Slots = dict[str, Any]


def described(
    vlm: VisionLanguageModel,
    images: Sequence[Image],
    *,
    field_um: float,
    measured: Sequence[Sequence[Measurement]] | None = None,
) -> list[Slots]:
    """The model's JSON for each tile, which it is told the measurements of where they are given."""
    told = measured or [()] * len(images)
    asked = [
        roles.describe(image, field_um=field_um, measurements=m)
        for image, m in zip(images, told, strict=True)
    ]
    return [c.data for c in vlm.generate(asked)]


def in_training(
    model: Any, tokenizer: Any, size: VLMSize, store: TileStore, tiles: Sequence[int], *, mpp: float
) -> tuple[list[Slots], list[Slots]]:
    """Answers of a model that is in memory: on these tiles, and on a blank image in their place.

    It goes through a temporary checkpoint and the in-process back end: what is scored is what ships.
    """
    from pathagent_tools.vlm.inprocess import TransformersVLM

    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), model, tokenizer, size)
        vlm = TransformersVLM(folder, tile_px=size.tile_px, tile_mpp=mpp)
    field_um = size.tile_px * mpp
    seen = described(vlm, [np.array(store.image(i)) for i in tiles], field_um=field_um)
    (blank,) = described(vlm, [blank_image(size.tile_px)], field_um=field_um)
    return seen, [blank] * len(tiles)


def blank_image(px: int) -> Image:
    """A tile of empty glass."""
    return np.full((px, px, 3), BLANK, np.uint8)


def slot_accuracy(truth: Sequence[Slots], answers: Sequence[Slots]) -> dict[str, float]:
    """Balanced accuracy per slot and their mean (`macro`)."""
    scores = {
        slot: round(balanced_accuracy([t[slot] for t in truth], [a.get(slot) for a in answers]).value, 4)
        for slot in SLOTS
    }
    return scores | {"macro": round(float(np.mean(list(scores.values()))), 4)}


def table(
    vlm: VisionLanguageModel,
    store: TileStore,
    *,
    mpp: float,
    seed: int = 0,
    rounds: int = 500,
    measured: Sequence[Sequence[Measurement]] | None = None,
) -> dict[str, Any]:
    """Scores of a model on a store: its own, on a blank image, on another tile, and of the commonest answer.

    `gain` is macro accuracy above the blank image with a 95 % bootstrap interval over tiles; every tile
    is a world of its own. `sentence` says how often the facts of the sentences are true, and how often
    the slots are where the sentence states them. measured: what the model is told of each tile.
    """
    truth = [t["findings"] for t in store.truth]
    images = [np.array(store.image(i)) for i in range(len(store))]
    field_um = images[0].shape[0] * mpp
    seen = described(vlm, images, field_um=field_um, measured=measured)
    blind = described(vlm, [blank_image(images[0].shape[0])], field_um=field_um) * len(store)
    common = {slot: Counter(t[slot] for t in truth).most_common(1)[0][0] for slot in SLOTS}
    rng = np.random.default_rng(seed)
    gains = []
    for _ in range(rounds):
        keep = rng.integers(0, len(store), len(store))
        drawn = [truth[i] for i in keep]
        own = slot_accuracy(drawn, [seen[i] for i in keep])["macro"]
        gains.append(own - slot_accuracy(drawn, [blind[i] for i in keep])["macro"])
    return {
        "metric": "balanced accuracy of the described slots, own answers",
        "n": len(store),
        "model": slot_accuracy(truth, seen),
        "held_out_scanners": _macro_of_held_out(store, seen),
        "blank_image": slot_accuracy(truth, blind),
        "shuffled_image": slot_accuracy(truth, [*seen[1:], seen[0]]),
        "majority": slot_accuracy(truth, [common] * len(store)),
        "sentence": sentence_accuracy(truth, seen),
        "gain": [round(float(x), 4) for x in (np.mean(gains), *np.quantile(gains, [0.025, 0.975]))],
    }


def _macro_of_held_out(store: TileStore, seen: Sequence[Slots]) -> float | None:
    """`macro` on the tiles of scanners that no recipe trains on, None where the store has none."""
    names = {scanner.name for scanner in SCANNERS_HELD_OUT}
    keep = [i for i, t in enumerate(store.truth) if t["scanner"] in names]
    if not keep:
        return None
    return slot_accuracy([store.truth[i]["findings"] for i in keep], [seen[i] for i in keep])["macro"]


def sentence_accuracy(truth: Sequence[Slots], answers: Sequence[Slots]) -> dict[str, float]:
    """Facts that the sentences state: how many, the share that is true, and that of the slots they name."""
    said, right, slots = 0, 0, 0
    for wanted, answer in zip(truth, answers, strict=True):
        for slot, stated in values(str(answer.get("sentence", ""))).items():
            if slot in SLOTS:
                said += 1
                right += stated == {wanted[slot]}
                slots += answer.get(slot) == wanted[slot]
    share = max(said, 1)
    return {"facts": said, "right": round(right / share, 4), "slots_right": round(slots / share, 4)}
