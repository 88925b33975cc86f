"""Does the VLM look? Slot accuracy on unseen tiles beside a blank image and the majority floor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pathagent_tools.core.protocols import Image, VisionLanguageModel
from pathagent_tools.core.records import Findings
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.scoring.resampling import Resampling
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm import roles

FIRST_SEED = 50_000_000
"""Evaluation tiles start here; no recipe draws seeds from this range."""


def tiles(n: int, *, first_seed: int = FIRST_SEED) -> list[tuple[Image, Findings, str]]:
    """`n` unseen tiles (image, truth, scanner): train scanners and held-out scanners in turn."""
    from pathagent_tools.phantom.tile import sample_tile

    out = []
    for i in range(n):
        sample = sample_tile(first_seed + i, split="test" if i % 2 else "train")
        out.append((sample.image, sample.findings, sample.scanner))
    return out


def describe_all(
    vlm: VisionLanguageModel, images: Sequence[Image], *, batch: int = 16
) -> list[dict[str, Any]]:
    """The model's answers for a list of 192 µm looks."""
    said: list[dict[str, Any]] = []
    for start in range(0, len(images), batch):
        requests = [roles.describe(image, field_um=192) for image in images[start : start + batch]]
        said += [completion.data for completion in vlm.generate(requests)]
    return said


def macro(truth: Sequence[Findings], said: Sequence[dict[str, Any]], keep: np.ndarray[Any, Any]) -> float:
    """Balanced accuracy averaged over the slots, on the items that `keep` names (with repeats)."""
    scores = []
    for slot in SLOTS:
        wanted = [getattr(truth[i], slot) for i in keep]
        scores.append(balanced_accuracy(wanted, [said[i].get(slot) for i in keep]).value)
    return float(np.mean(scores))


def table(vlm: VisionLanguageModel, n: int = 240, *, seed: int = 0) -> dict[str, Any]:
    """Per-slot balanced accuracy: the model, the same model on a blank image, and the majority.

    The interval of the difference model − blank is a bootstrap over tiles (each tile is its own
    phantom), 1,000 rounds.
    """
    cases = tiles(n)
    truth = [findings for _, findings, _ in cases]
    images = [image for image, _, _ in cases]
    blank = [np.full_like(image, 255) for image in images]
    seen, blind = describe_all(vlm, images), describe_all(vlm, blank)
    everything = np.arange(n)
    rows = {}
    for slot in SLOTS:
        wanted = [getattr(f, slot) for f in truth]
        common = Counter(wanted).most_common(1)[0][0]
        rows[slot] = {
            "model": balanced_accuracy(wanted, [s.get(slot) for s in seen]).value,
            "blank": balanced_accuracy(wanted, [s.get(slot) for s in blind]).value,
            "majority": balanced_accuracy(wanted, [common] * n).value,
            "classes": len(set(wanted)),
        }
    gain = Resampling(range(n), seed=seed).statistic(
        lambda keep: macro(truth, seen, keep) - macro(truth, blind, keep)
    )
    held_out = np.asarray([i for i in everything if i % 2])
    return {
        "n": n,
        "slots": rows,
        "macro_model": macro(truth, seen, everything),
        "macro_blank": macro(truth, blind, everything),
        "macro_model_held_out_scanners": macro(truth, seen, held_out),
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "method": f"balanced accuracy, macro over slots; bootstrap by tile, 1000 rounds, seed {seed}",
    }


def markdown(result: dict[str, Any]) -> str:
    """The table as Markdown."""
    lines = ["| slot | model | blank image | majority |", "| --- | --- | --- | --- |"]
    for slot, row in result["slots"].items():
        lines.append(f"| {slot} | {row['model']:.3f} | {row['blank']:.3f} | {row['majority']:.3f} |")
    lines.append(f"| macro | {result['macro_model']:.3f} | {result['macro_blank']:.3f} | |")
    lines.append("")
    lines.append(
        f"Gain over blank {100 * result['gain']:.1f} points "
        f"[{100 * result['gain_low']:.1f}, {100 * result['gain_high']:.1f}], n = {result['n']} tiles, "
        f"held-out scanners alone {result['macro_model_held_out_scanners']:.3f}."
    )
    return "\n".join(lines)
