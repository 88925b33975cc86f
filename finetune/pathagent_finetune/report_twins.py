"""Reports that say nearly the same: a model that has read one has read the other."""

from __future__ import annotations

import re
from collections.abc import Sequence

WORDS = 3
"""Words of a run that two texts may share."""
ALIKE = 0.8
"""Share of common word runs (Jaccard) from which two reports count as the same."""


def twins(texts: Sequence[str]) -> list[str]:
    """A label for each text, the same for texts that are nearly identical, directly or through others.

    Case, punctuation and white space do not count. Texts are compared by the runs of three words that they
    share, in blocks, so memory grows with the number of texts and not with its square.
    """
    from pathagent_finetune.groups import together

    plain = [" ".join(re.findall(r"\w+", text.casefold())) for text in texts]
    known = sorted(set(plain))
    links: list[list[str]] = [[f"text {i}"] for i in range(len(known))]
    for first, second in _alike(known):
        links[second].append(f"text {first}")
    labels = dict(zip(known, together(links), strict=True))
    return [labels[text] for text in plain]


def _alike(texts: Sequence[str], block: int = 512) -> list[tuple[int, int]]:
    import numpy as np
    from scipy.sparse import csr_array

    runs = [_runs(text) for text in texts]
    known = {run: i for i, run in enumerate(sorted(set().union(*runs)))}
    columns = [known[run] for found in runs for run in sorted(found)]
    ends = np.cumsum([0, *(len(found) for found in runs)])
    table = csr_array(
        (np.ones(len(columns), np.int32), columns, ends), shape=(len(texts), max(1, len(known)))
    )
    sizes = np.diff(ends)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(texts), block):
        shared = (table[start : start + block] @ table.T).tocoo()
        rows, others = shared.coords[0] + start, shared.coords[1]
        alike = shared.data / (sizes[rows] + sizes[others] - shared.data) >= ALIKE
        pairs += [(int(a), int(b)) for a, b in zip(rows[alike], others[alike], strict=True) if a < b]
    return pairs


def _runs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + WORDS]) for i in range(max(1, len(words) - WORDS + 1))}
