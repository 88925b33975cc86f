"""Two systems on the same items, in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pathagent_eval.bench.benchmark import Benchmark
from pathagent_eval.bench.item import Item, Said
from pathagent_eval.bench.metrics import column
from pathagent_eval.bench.results import PairedGain
from pathagent_eval.bench.score import paired
from pathagent_eval.bench.table import label
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring.resampling import Resampling

BENCHMARK, ITEMS, PREDICTIONS = "benchmark.yaml", "items.jsonl", "predictions.jsonl"


def compare(
    bench: Benchmark, items: Sequence[Item], ours: Sequence[Said], theirs: Sequence[Said], *, seed: int = 0
) -> dict[str, PairedGain]:
    """Metric → gain of ours over theirs, for every metric that is a ratio over items."""
    draws = Resampling([i.cluster for i in items], seed=seed)
    found = {}
    for metric in bench.metric_list:
        try:
            a, b = (column(metric.metric, items, said, **metric.options) for said in (ours, theirs))
            found[metric.name] = paired(a, b, draws)
        except ValueError:
            continue
    return found


def check_same_items(ours: Path, theirs: Path, digests: tuple[str, str]) -> None:
    """UserError where two folders are of other items: their numbers do not compare."""
    if digests[0] != digests[1]:
        raise UserError(
            f"{ours} and {theirs} score other items ({digests[0][:12]}, {digests[1][:12]}). "
            "Score both systems on one items.jsonl."
        )


def markdown(title: str, gains: dict[str, PairedGain], names: tuple[str, str]) -> str:
    """The comparison as a table."""
    lines = [
        f"# {title}: {names[0]} less {names[1]}",
        "",
        "| metric | difference [95 %] | p | patients | says |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for metric, g in gains.items():
        cells: list[Any] = [label(metric), f"{g.value:+.3f} [{g.low:+.3f}, {g.high:+.3f}]", f"{g.p:.3f}"]
        lines.append(f"| {' | '.join([*cells, str(g.clusters), g.verdict])} |")
    return "\n".join(lines) + "\n"
