"""Results as Markdown: each row a system or a floor, each number with its interval; the rest below."""

from __future__ import annotations

from collections.abc import Sequence

from pathagent_eval.bench.results import SYSTEM, Number, Results

_RESEARCH = "Research use only. A score of a benchmark says nothing of clinical use."


def markdown(every: Sequence[Results]) -> str:
    """The tables of several benchmarks, an overview first where there are many."""
    parts = ["# Benchmarks", "", _RESEARCH, ""]
    if len(every) > 1:
        parts += [*overview(every), ""]
    for results in every:
        parts += [*section(results), ""]
    return "\n".join(parts).rstrip() + "\n"


def overview(every: Sequence[Results]) -> list[str]:
    """One row a benchmark: its primary score beside the best floor."""
    lines = [
        "| benchmark | primary score | system | best floor | gain | items / patients | says |",
        "| --- | --- | --- | --- | --- | ---: | --- |",
    ]
    for r in every:
        floor = f"{number(r.systems[r.best_floor][r.primary])} ({r.best_floor})" if r.best_floor else ""
        gain = f"{r.gain.value:+.3f} [{r.gain.low:+.3f}, {r.gain.high:+.3f}]" if r.gain else ""
        cells = [
            f"{r.title} {r.version:g}",
            label(r.primary),
            number(r.systems[SYSTEM][r.primary]),
            floor,
            gain,
            f"{r.n} / {r.clusters}",
            said_of(r),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def section(r: Results) -> list[str]:
    """All of one benchmark."""
    ours = r.systems[SYSTEM]
    lines = [
        f"## {r.title} (version {r.version:g})",
        "",
        str(r.metadata.get("description", "")),
        "",
        f"{r.n} items of {r.clusters} patients or slides. Failed and missing predictions, abstentions and "
        f"answers that cannot be read are wrong and counted. Intervals 95 %: {r.method}.",
        "",
        f"| | {' | '.join(label(m) for m in ours)} | unread | abstained | failed |",
        f"|{' --- |' * (len(ours) + 1)} ---: | ---: | ---: |",
    ]
    for name, numbers in r.systems.items():
        first = numbers.get(r.primary) or next(iter(numbers.values()))
        cells = [number(numbers[m]) if m in numbers else "" for m in ours]
        counts = [str(c) for c in (first.n_unparsed, first.n_abstained, first.n_failed)]
        lines.append(f"| {' | '.join([title(r, name), *cells, *counts])} |")
    lines += ["", _gain_line(r), ""]
    if "slots" in r.curves:
        lines += [*_slots(r), ""]
    for group, rows in r.groups.items():
        lines += [*_group(r, group, rows), ""]
    lines += [*_small_print(r), ""]
    return lines


def title(r: Results, name: str) -> str:
    """`**system**`, `floor: silence` or `control: shuffled options`."""
    if name == SYSTEM:
        return f"**{name}**"
    return f"{'control' if name in r.controls else 'floor'}: {name}"


def _gain_line(r: Results) -> str:
    if r.gain is None:
        return ""
    g = r.gain
    return (
        f"Over the best floor ({r.best_floor}): {g.value:+.3f} [{g.low:+.3f}, {g.high:+.3f}], "
        f"p = {g.p:.3f}, {g.clusters} patients: **{said_of(r)}**."
    )


def said_of(r: Results) -> str:
    """What may be said of the system beside its best floor."""
    if r.gain is None:
        return ""
    words = {"better": "above the floor", "worse": "below the floor"}
    return words.get(r.gain.verdict, r.gain.verdict)


def _slots(r: Results) -> list[str]:
    lines = ["| slot | F1 | precision | recall | said | wanted |", "| --- | --- | --- | --- | ---: | ---: |"]
    for slot, row in r.curves["slots"].items():
        shares = " | ".join(f"{row[key]:.3f}" for key in ("f1", "precision", "recall"))
        lines.append(f"| {label(slot)} | {shares} | {row['said']:g} | {row['wanted']:g} |")
    return lines


def _group(r: Results, group: str, rows: dict[str, Number]) -> list[str]:
    lines = [f"| {group} | {label(r.primary)} | n |", "| --- | --- | ---: |"]
    return [*lines, *(f"| {value} | {number(score)} | {score.n} |" for value, score in rows.items())]


def _small_print(r: Results) -> list[str]:
    ours = r.systems[SYSTEM]
    lower = [label(m) for m, n in ours.items() if not n.higher_is_better]
    lines = [f"- Comparable: {r.metadata.get('comparable', '')}", f"- Data: {r.metadata.get('source', '')}"]
    if lower:
        lines.append(f"- Lower is better: {', '.join(lower)}.")
    lines += [f"- {label(m)}: {n.signature}" for m, n in ours.items()]
    lines.append(
        f"- data {r.data_sha256[:12]}, predictions {r.predictions_sha256[SYSTEM][:12]}, "
        f"benchmark {r.benchmark_sha256[:12]}, seed {r.seed}, pathagent {r.package_version}"
    )
    return lines


def number(n: Number) -> str:
    """`0.812 [0.770, 0.850]`; a corpus score stands before the mean; one patient has no interval."""
    interval = f" [{n.low:.3f}, {n.high:.3f}]" if n.clusters > 1 else ""
    mean = f"{n.value:.3f}{interval}"
    return mean if n.corpus is None else f"{n.corpus:.3f} (mean {mean})"


def label(metric: str) -> str:
    """`fact f1` for `fact_f1`."""
    return metric.replace("_", " ")
