"""From items and predictions to results: the system, the floors that need no slide, and the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pathagent_eval.bench.benchmark import Benchmark
from pathagent_eval.bench.column import Column
from pathagent_eval.bench.curves import curves
from pathagent_eval.bench.floors import floors_of
from pathagent_eval.bench.item import Item, Said, digest_of
from pathagent_eval.bench.metrics import column
from pathagent_eval.bench.results import SHUFFLED, SYSTEM, Number, PairedGain, Results
from pathagent_tools.core.files import canonical_json, sha256_bytes
from pathagent_tools.core.scoring.resampling import ROUNDS, Resampling, Verdict

Saids = Sequence[Said]


def score(
    bench: Benchmark,
    items: Sequence[Item],
    said: Saids,
    *,
    looked_floors: Mapping[str, Saids] | None = None,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> Results:
    """Score what a system said of the items, in their order.

    looked_floors: floors that were made beside the run (blind, thumbnail only, shuffled options …); those
    that need nothing but the items are added. UserError on a metric that is unknown or cannot be computed.
    """
    draws = Resampling([item.cluster for item in items], seed=seed, rounds=rounds)
    data = digest_of(items)
    everyone = {SYSTEM: said, **(looked_floors or {}), **floors_of(bench, items)}
    columns = {name: _columns(bench, items, texts) for name, texts in everyone.items()}
    numbers = {
        name: {m: _number(c, everyone[name], draws, data) for m, c in cs.items()}
        for name, cs in columns.items()
    }
    primary = bench.primary.name
    controls = _controls(bench, looked_floors or {})
    rivals = [name for name in everyone if name not in (SYSTEM, *controls)]
    best, gain = _against_floors(columns[SYSTEM][primary], {n: columns[n][primary] for n in rivals}, draws)
    return Results(
        task=bench.task,
        title=bench.title,
        version=bench.metadata.version,
        benchmark_sha256=bench.digest,
        data_sha256=data,
        predictions_sha256={name: _digest(texts) for name, texts in everyone.items()},
        method=draws.method,
        seed=seed,
        n=len(items),
        clusters=draws.clusters,
        primary=primary,
        systems=numbers,
        controls=controls,
        best_floor=best,
        gain=gain,
        groups=_groups(bench, items, said, draws, data),
        curves=curves(bench, items, said, columns[SYSTEM]),
        metadata=bench.metadata.model_dump(),
        package_version=version("pathagent"),
    )


def _controls(bench: Benchmark, looked: Mapping[str, Saids]) -> tuple[str, ...]:
    """What stands beside the system and is no floor.

    The system itself with its options shuffled; and of safety the model without a picture, for whether a
    slide can show it is told by the question alone.
    """
    return tuple(name for name in looked if bench.kind == "safety" or name == SHUFFLED)


def _columns(bench: Benchmark, items: Sequence[Item], said: Saids) -> dict[str, Column]:
    """Each metric; one that these predictions cannot have (no confidence was given) is left out."""
    found = {}
    for metric in bench.metric_list:
        try:
            found[metric.name] = column(metric.metric, items, said, **metric.options)
        except ValueError:
            if metric == bench.primary:
                raise
    return found


def _number(col: Column, said: Saids, draws: Resampling, data: str) -> Number:
    return Number(
        **col.estimate(draws).model_dump(),
        n_unparsed=col.unparsed,
        n_abstained=sum(s.status == "abstained" for s in said),
        n_failed=sum(s.status == "failed" for s in said),
        corpus=col.corpus,
        higher_is_better=col.higher_is_better,
        signature=col.signature,
        data_sha256=data,
        seed=draws.seed,
    )


def _against_floors(ours: Column, floors: Mapping[str, Column], draws: Resampling) -> tuple[str, PairedGain]:
    """The best floor of the primary score, and what the system gains over it."""
    values = {name: column.estimate(draws).value for name, column in floors.items()}
    best = max(values, key=lambda name: values[name])
    return best, paired(ours, floors[best], draws)


def paired(ours: Column, theirs: Column, draws: Resampling) -> PairedGain:
    """The difference of two columns over the same items, with its test and what may be said of it."""
    gain = ours.gain(theirs, draws)
    turned: dict[Verdict, Verdict] = {} if ours.higher_is_better else {"better": "worse", "worse": "better"}
    return PairedGain(**gain.model_dump(), verdict=turned.get(gain.verdict, gain.verdict))


def _groups(
    bench: Benchmark, items: Sequence[Item], said: Saids, draws: Resampling, data: str
) -> dict[str, dict[str, Number]]:
    """The primary score in each group, so that a weak scanner, stain or family is seen."""
    table: dict[str, dict[str, Number]] = {}
    for name in bench.groups:
        for value in sorted({item.groups.get(name, "unknown") for item in items}):
            keep = [i for i, item in enumerate(items) if item.groups.get(name, "unknown") == value]
            some, texts = [items[i] for i in keep], [said[i] for i in keep]
            found = column(bench.primary.metric, some, texts, **bench.primary.options)
            if not found.speaks:
                continue
            own = Resampling([item.cluster for item in some], seed=draws.seed, rounds=draws.rounds)
            table.setdefault(name, {})[value] = _number(found, texts, own, data)
    return table


def _digest(said: Saids) -> str:
    rows: list[Any] = [s.model_dump(mode="json", exclude_defaults=True) for s in said]
    return sha256_bytes(canonical_json(rows).encode())
