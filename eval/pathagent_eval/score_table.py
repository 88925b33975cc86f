"""The scores of a run as Markdown: each number with its interval, its cases and what computed it."""

from __future__ import annotations

from typing import Any


def markdown(result: dict[str, Any]) -> str:
    """`scores.json` for people."""
    primary, n = result["primary"], result["n"]
    lines = [
        "# Scores",
        "",
        f"{n} cases of {result['n_patients']} patients; {result['n_failed']} failed, "
        f"{result['n_abstained']} abstained: both score nothing and are counted. "
        f"{result['n_unparsed']} texts state no fact that is known. "
        f"Intervals: {result['method']}.",
        "",
        "| facts of the reference, F1 | value [95 %] | n |",
        "| --- | --- | ---: |",
        f"| **system** | {_number(primary['score'])} | {n} |",
        *(f"| floor: {name} | {_number(floor)} | {n} |" for name, floor in primary["floors"].items()),
        f"| gain over the best floor: {primary['verdict']} | {_number(primary['gain'])} | {n} |",
        "",
        f"Computed by {primary['signature']}.",
        "",
        "| slot | F1 | precision | recall | wanted | said |",
        "| --- | --- | --- | --- | ---: | ---: |",
    ]
    for slot, row in result["slots"].items():
        numbers = " | ".join(_number(row[key]) for key in ("f1", "precision", "recall"))
        lines.append(f"| {slot.replace('_', ' ')} | {numbers} | {row['wanted']} | {row['said']} |")
    lines += ["", "| errors | count | cases with one |", "| --- | ---: | --- |"]
    for kind, row in result["errors"].items():
        lines.append(f"| {kind.replace('_', ' ')} | {row['count']} | {_number(row['cases'])} |")
    if result["ngrams"]:
        lines += ["", *_ngrams(result["ngrams"], n)]
    return "\n".join(lines) + "\n"


def _ngrams(table: dict[str, Any], n: int) -> list[str]:
    floors = list(next(iter(table.values()))["floors_corpus"])
    head = ["n-gram score", "corpus", "mean over cases", "n", *(f"floor: {name}" for name in floors), "by"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, row in table.items():
        blind = [f"{row['floors_corpus'][floor]:.3f}" for floor in floors]
        cells = [name, f"{row['corpus']:.3f}", _number(row["mean"]), str(n), *blind, row["signature"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
