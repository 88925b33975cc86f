"""What must stay on one side of a split: items that share a key, directly or through others."""

from __future__ import annotations

from collections.abc import Sequence


def together(keys: Sequence[Sequence[str]]) -> list[str]:
    """A label for each item, the same for items that share a key or are linked through items that do.

    `keys` of an item (`patient 7`, `slide 3f…`) are not empty; the label is the least key of the group, so
    it depends on what is shared alone.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    known = sorted({key for item in keys for key in item})
    if not known:
        return []
    at = {key: i for i, key in enumerate(known)}
    links = [(at[item[0]], at[key]) for item in keys for key in item]
    rows, columns = zip(*links, strict=True)
    graph = coo_array(([1] * len(links), (rows, columns)), shape=(len(known), len(known)))
    _, group = connected_components(graph, directed=False)
    least: dict[int, str] = {}
    for key, number in zip(known, group.tolist(), strict=True):
        least.setdefault(number, key)
    return [least[group[at[item[0]]]] for item in keys]
