"""Whether a stated probability is kept, and what silence gains: ECE, Brier, risk and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.scoring.score import Score


class Bin(NamedTuple):
    """One bin of a reliability diagram: what was stated on average, what was right, and how many."""

    stated: float
    right: float
    n: int


def reliability(confidence: Sequence[float], right: Sequence[bool], *, bins: int = 10) -> list[Bin]:
    """Bins of equal mass. Items of one confidence are never parted, so their order changes nothing.

    confidence: [N] in 0..1. Source: Nguyen & O'Connor 2015 (adaptive bins). ValueError on empty input.
    """
    p, hit = _arrays(confidence, right)
    edges = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1])
    bin_of = np.searchsorted(edges, p, side="left")
    return [
        Bin(float(p[bin_of == b].mean()), float(hit[bin_of == b].mean()), int((bin_of == b).sum()))
        for b in np.unique(bin_of)
    ]


def expected_calibration_error(
    confidence: Sequence[float], right: Sequence[bool], *, bins: int = 10
) -> Score:
    """Mean |stated probability − share right| over bins of equal mass, weighted by their items."""
    found = reliability(confidence, right, bins=bins)
    value = sum(b.n * abs(b.stated - b.right) for b in found) / len(confidence)
    return Score(name="ece", value=value, signature=f"pathagent ECE, {bins} bins of equal mass")


def brier(confidence: Sequence[float], right: Sequence[bool]) -> Score:
    """Mean squared difference of stated probability and outcome (Brier 1950), of the answer given."""
    p, hit = _arrays(confidence, right)
    items = (p - hit) ** 2
    return Score(
        name="brier",
        value=float(items.mean()),
        items=tuple(items.tolist()),
        signature="pathagent Brier of the given answer",
    )


def risk_coverage(confidence: Sequence[float | None], right: Sequence[bool]) -> list[tuple[float, float]]:
    """(coverage, share wrong of what is answered) as ever less sure answers are given, surest first.

    None is an abstention: it is never answered, and stays in what coverage is a share of. Answers of one
    confidence are given together. Source: Geifman & El-Yaniv 2017.
    """
    if not confidence or len(confidence) != len(right):
        raise ValueError(f"needs as many confidences as outcomes, at least one ({len(confidence)})")
    points, answered, wrong = [], 0, 0
    pairs = [(c, r) for c, r in zip(confidence, right, strict=True) if c is not None]
    for level in sorted({c for c, _ in pairs}, reverse=True):
        given = [r for c, r in pairs if c == level]
        answered, wrong = answered + len(given), wrong + given.count(False)
        points.append((answered / len(confidence), wrong / answered))
    return points


def coverage(confidence: Sequence[float | None]) -> Score:
    """Share of the cases that are answered at all."""
    items = tuple(float(c is not None) for c in confidence)
    if not items:
        raise ValueError("coverage needs at least one case")
    return Score(name="coverage", value=sum(items) / len(items), items=items, signature="pathagent coverage")


def aurc(confidence: Sequence[float | None], right: Sequence[bool]) -> Score:
    """Area under the risk-coverage curve: lower is better; an abstention counts as the least sure, and wrong.

    The mean over all cases, surest first, of the risk up to there (Geifman 2019); ties share their mean.
    So silence is not rewarded: a system that answers nothing has an AURC of 1.
    """
    ranked = [(-1.0 if c is None else c, c is not None and r) for c, r in zip(confidence, right, strict=True)]
    points = risk_coverage([c for c, _ in ranked], [r for _, r in ranked])
    before, area = 0.0, 0.0
    wrong_before = 0.0
    n = len(ranked)
    for share, risk in points:
        many = round((share - before) * n)
        wrong = (risk * share * n - wrong_before) / many
        area += sum((wrong_before + wrong * k) / (before * n + k) for k in range(1, many + 1))
        before, wrong_before = share, risk * share * n
    missing = sum(c is None for c in confidence)
    return Score(
        name="aurc", value=area / n, signature="pathagent AURC, ties at their mean, abstention = wrong, last",
        missing=missing,
    )  # fmt: skip


def _arrays(confidence: Sequence[float], right: Sequence[bool]) -> tuple[NDArray[Any], NDArray[Any]]:
    if not confidence or len(confidence) != len(right):
        raise ValueError(f"needs as many confidences as outcomes, at least one ({len(confidence)})")
    return np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
