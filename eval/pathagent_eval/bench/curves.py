"""The points behind the plots of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pathagent_eval.bench.benchmark import Benchmark
from pathagent_eval.bench.column import Column
from pathagent_eval.bench.item import Item, Said
from pathagent_eval.bench.metrics import compared, sure_and_right
from pathagent_tools.core.scoring.calibration import reliability, risk_coverage
from pathagent_tools.core.scoring.report import SLOTS, Counts


def curves(
    bench: Benchmark, items: Sequence[Item], said: Sequence[Said], columns: Mapping[str, Column]
) -> dict[str, Any]:
    """Reliability and risk-coverage where confidences are given; hit curve of looks; bars of the slots."""
    found: dict[str, Any] = {}
    if bench.kind in ("question", "label"):
        sure, right = sure_and_right(items, said)
        known = [i for i, c in enumerate(sure) if c is not None]
        if known:
            found["reliability"] = reliability([sure[i] or 0.0 for i in known], [right[i] for i in known])
            found["risk_coverage"] = risk_coverage(sure, right)
    if bench.kind == "report":
        found["slots"] = _slots(items, said)
    if points := columns[bench.primary.name].points:
        found["hits"] = points
    return found


def _slots(items: Sequence[Item], said: Sequence[Said]) -> dict[str, dict[str, float]]:
    """F1, precision, recall and counts of each slot that either side speaks of."""
    every = compared(items, said)
    table = {}
    for slot in SLOTS:
        counts = Counts(0, 0, 0)
        for one in every:
            counts = counts.plus(one.slots[slot])
        if counts.said + counts.wanted:
            shares = {"f1": counts.f1, "precision": counts.precision, "recall": counts.recall}
            table[slot] = {**shares, "said": counts.said, "wanted": counts.wanted}
    return table
