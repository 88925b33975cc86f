"""Scores of ranked lists: how early what was looked for comes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.scoring.score import Score

Ranked = Sequence[Sequence[str]]
"""For each query the ids that were found, best first."""
Relevant = Sequence[Collection[str]]
"""For each query the ids that are right; at least one."""


def recall_at(k: int, ranked: Ranked, relevant: Relevant) -> Score:
    """Share of queries with something right among the first `k` (the R@k of cross-modal retrieval).

    An empty list is a miss. ValueError where a query has nothing right, or on empty input.
    """
    items = [float(0 < place <= k) for place in _places(ranked, relevant)]
    return _mean(f"recall_at_{k}", items, "pathagent R@k, any right answer", ranked)


def mrr(ranked: Ranked, relevant: Relevant) -> Score:
    """Mean over the queries of 1 / place of the first right answer; 0 where there is none."""
    items = [1 / place if place else 0.0 for place in _places(ranked, relevant)]
    return _mean("mrr", items, "pathagent MRR", ranked)


def matched(likeness: NDArray[np.float32], same: NDArray[np.bool_], ks: Sequence[int]) -> dict[str, Score]:
    """`R@k` of each query's own match, and `alike R@k` of any that is as right, by likeness [n, n].

    Query i belongs to match i; same [n, n]: match j is as right for query i.
    """
    ranked = [[str(j) for j in row] for row in np.argsort(-likeness, axis=1, kind="stable")]
    own = [{str(i)} for i in range(len(ranked))]
    alike = [{str(j) for j in np.flatnonzero(row)} for row in same]
    found = {f"R@{k}": recall_at(k, ranked, own) for k in ks}
    return found | {f"alike R@{k}": recall_at(k, ranked, alike) for k in ks}


def _places(ranked: Ranked, relevant: Relevant) -> list[int]:
    """Place (from 1) of the first right answer of each query, 0 where it is missing."""
    if not ranked or len(ranked) != len(relevant):
        raise ValueError(f"needs one list a query, at least one (got {len(ranked)}, {len(relevant)})")
    if not all(relevant):
        raise ValueError("a query has no right answer: nothing could be found")
    return [
        next((i for i, found in enumerate(ids, 1) if found in right), 0)
        for ids, right in zip(ranked, relevant, strict=True)
    ]


def _mean(name: str, items: list[float], signature: str, ranked: Ranked) -> Score:
    missing = sum(not ids for ids in ranked)
    return Score(
        name=name, value=sum(items) / len(items), items=tuple(items), signature=signature, missing=missing
    )
