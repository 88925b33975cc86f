"""How well a VLM checks: claims and answers beside looks of unseen tiles, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from pathagent.rules.agreement import verdict_of
from pathagent_finetune.corpus.example import Example
from pathagent_finetune.mix import verify_tile
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.protocols import VisionLanguageModel
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.scoring.resampling import bootstrap

Table = dict[str, Any]


def verify_table(vlm: VisionLanguageModel, store: TileStore, n: int = 400) -> Table:
    """Verdicts as a run reads them: what is supported must be, what is not must not.

    Half are claims of a report, half answers to questions, every one of these in a wording that no training
    uses. Beside it the same with the claim of another look: a check that does not read the claim is at its
    floor there.
    """
    drawn = {
        "claims": [_drawn(store, i, answers=0.0) for i in range(n)],
        "answers": [_drawn(store, n + i, answers=1.0) for i in range(n)],
    }
    table: Table = {"n": 2 * n, "metric": "verdicts as a run reads them, beside pixels and line of one look"}
    for name, examples in drawn.items():
        wanted = [str(e.target["verdict"]) for e in examples]
        table[name] = _scores(wanted, _verdicts(vlm, examples))
        others = [_with_claim_of(e, examples[i - 1]) for i, e in enumerate(examples)]
        floor = _scores(wanted, _verdicts(vlm, others))
        table[name]["balanced_accuracy_with_the_claim_of_another"] = floor["balanced_accuracy"]
    return table


def _drawn(store: TileStore, i: int, *, answers: float) -> Example:
    tile = i % len(store)
    example = verify_tile(tile, store, Random(f"checked-{i}"), answers=answers, held_out=True)
    return replace(example, request=replace(example.request, images=(np.array(store.image(tile)),)))


def _with_claim_of(example: Example, other: Example) -> Example:
    """The look of one example beside the claim of another."""
    claim, look = other.request.user.split("Look:")[0], example.request.user.split("Look:")[1]
    return replace(example, request=replace(example.request, user=f"{claim}Look:{look}"))


def _verdicts(vlm: VisionLanguageModel, examples: Sequence[Example]) -> list[str]:
    return [verdict_of(completion.data) for completion in vlm.generate([e.request for e in examples])]


def _supported(verdicts: Sequence[str]) -> list[bool]:
    return [v == "supported" for v in verdicts]


def _scores(wanted: Sequence[str], got: Sequence[str]) -> Table:
    """Right verdicts; and of supporting alone recall and precision."""
    right = [float(w == g) for w, g in zip(wanted, got, strict=True)]
    true, said = np.array(_supported(wanted)), np.array(_supported(got))
    return {
        "right": str(bootstrap(right, list(range(len(right))))),
        "supported_share": round(float(true.mean()), 4),
        "supported_recall": round(float((true & said).sum() / max(1, true.sum())), 4),
        "supported_precision": round(float((true & said).sum() / max(1, said.sum())), 4),
        "balanced_accuracy": round(balanced_accuracy([*map(str, true)], [*map(str, said)]).value, 4),
    }
