"""What a system gets that has not looked, for each kind of benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from pathagent_eval.bench.benchmark import Benchmark, Kind
from pathagent_eval.bench.item import Box, ClaimSaid, Item, Said
from pathagent_eval.bench.masks import EVERYTHING
from pathagent_eval.floors import commonest_text, shuffled_texts
from pathagent_eval.perturbation import HERE
from pathagent_tools.core.scoring.report import extract
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

Items = Sequence[Item]
Floors = dict[str, list[Said]]
LOOKS = 16
LOOK_UM = 192.0
ENOUGH = 5
"""Patients that a topic needs to have a commonest answer of its own."""


def floors_of(bench: Benchmark, items: Items) -> Floors:
    """Name → what it says of each item."""
    found = _BY_KIND[bench.kind](items)
    found["silence"] = [Said(id=item.id, text="") for item in items]
    return found


def _texts(items: Items) -> Floors:
    references, clusters = [i.reference for i in items], [i.cluster for i in items]
    found = {
        "commonest": _say(items, commonest_text(references)),
        "another case's": _say(items, shuffled_texts(references, clusters)),
    }
    organs = [_organ(text) for text in references]
    if any(organs):
        found["commonest of the organ"] = _say(items, _commonest_of(organs, references, clusters))
    return found


def _organ(report: str) -> str:
    """Where it was taken from, as the report says: known before anybody looks."""
    return "; ".join(sorted(f.key for f in extract(report) if f.slot == "organ"))


def _commonest_of(organs: Sequence[str], references: Sequence[str], clusters: Sequence[str]) -> list[str]:
    """The commonest reference of each organ of which there are enough patients, else of all."""
    known: dict[str, set[str]] = {}
    for organ, cluster in zip(organs, clusters, strict=True):
        known.setdefault(organ, set()).add(cluster)
    groups = [organ if len(known[organ]) >= ENOUGH else "" for organ in organs]
    text_of = {
        group: commonest_text(
            [r for r, g in zip(references, groups, strict=True) if not group or g == group]
        )[0]
        for group in set(groups)
    }
    return [text_of[group] for group in groups]


def _answers(items: Items) -> Floors:
    """The commonest answer to such questions, an option by lot, the place oftenest right, another's."""
    rng = Random("answers")
    pools = _pools(items)
    once = {id(pool): pool for pool in pools}
    commonest = {key: Counter(i.reference for i in pool).most_common(1)[0][0] for key, pool in once.items()}
    common = [commonest[id(pool)] for pool in pools]
    others = [
        [i.reference for i in pool if i.cluster != item.cluster] or [""]
        for item, pool in zip(items, pools, strict=True)
    ]
    place = Counter(i.options.index(i.reference) for i in items if i.reference in i.options)
    first = place.most_common(1)[0][0] if place else 0
    placed = [item.options[min(first, len(item.options) - 1)] if item.options else "" for item in items]
    return {
        "commonest": _say(items, common),
        "random option": _say(
            items, [rng.choice(i.options or o) for i, o in zip(items, others, strict=True)]
        ),
        "commonest place among the options": _say(items, placed),
        "another's answer": _say(items, [rng.choice(o) for o in others]),
    }


def _pools(items: Items) -> list[Items]:
    """For each item those of its topic, else of its options, where they are of enough patients; else all.

    The commonest answer of two questions would be right too often to be a floor.
    """
    found: list[Items] = [items] * len(items)
    for key_of in (lambda i: tuple(sorted(i.options)), lambda i: i.topic):
        pools: dict[object, list[Item]] = {}
        for item in items:
            pools.setdefault(key_of(item), []).append(item)
        enough = {key for key, pool in pools.items() if len({i.cluster for i in pool}) >= ENOUGH}
        found = [
            pools[key] if (key := key_of(item)) in enough else old
            for item, old in zip(items, found, strict=True)
        ]
    return found


def _attitudes(items: Items) -> Floors:
    rng = Random("attitudes")
    open_ = [i.reference if i.reference != NOT_ASSESSABLE else (i.options or ("yes",))[0] for i in items]
    return {
        "always decline": _say(items, [NOT_ASSESSABLE] * len(items)),
        "never decline": _say(items, open_),
        "random": _say(items, [rng.choice((NOT_ASSESSABLE, answer)) for answer in open_]),
    }


def _masks(items: Items) -> Floors:
    return {"everything inside": _say(items, [EVERYTHING] * len(items))}


def _looks(items: Items) -> Floors:
    """Looks drawn on the tissue, and looks in the order of a raster over it."""
    drawn, raster = [], []
    for item in items:
        rng = Random(f"looks-{item.id}")
        places = _grid(item)
        drawn.append(Said(id=item.id, looks=tuple(rng.sample(places, min(LOOKS, len(places))))))
        step = max(1, len(places) // LOOKS)
        raster.append(Said(id=item.id, looks=tuple(places[::step][:LOOKS])))
    return {"random looks": drawn, "raster": raster}


def _claims(items: Items) -> Floors:
    """The commonest facts of all slides, each pointing at a look drawn on the tissue."""
    sentences = Counter(text for item in items for text in item.truth["sentences"])
    least = len(items) / 2
    said = [text for text, n in sentences.most_common() if n >= least] or [sentences.most_common(1)[0][0]]
    blind = []
    for item in items:
        places = _grid(item)
        rng = Random(f"claims-{item.id}")
        claims = [ClaimSaid(text=t, looks=tuple(rng.sample(places, min(3, len(places))))) for t in said]
        blind.append(Said(id=item.id, claims=tuple(claims)))
    return {"commonest facts, random looks": blind}


def _perturbed(items: Items) -> Floors:
    """One answer to everything, and each answer by lot: neither depends on what is seen."""
    rng = Random("perturbed")
    same, drawn = [], []
    for item in items:
        kinds: list[str] = [kind for kind in item.truth["places"] if kind != HERE]
        same.append(Said(id=item.id, text=item.reference, perturbed=dict.fromkeys(kinds, item.reference)))
        lots = {kind: rng.choice(item.options) for kind in kinds}
        drawn.append(Said(id=item.id, text=rng.choice(item.options), perturbed=lots))
    return {"always the same": same, "random option": drawn}


def _grid(item: Item) -> list[Box]:
    """Looks side by side over the pieces of tissue, in reading order."""
    from pathagent_eval.lesions import share_inside

    side = LOOK_UM / float(item.truth["mpp"])
    n = int(item.truth["width"] / side), int(item.truth["height"] / side)
    boxes: list[Box] = [(x * side, y * side, side, side) for y in range(n[1]) for x in range(n[0])]
    return [b for b in boxes if share_inside(b, item.truth["piece_polygons"]) >= 0.5] or boxes


def _say(items: Items, texts: Sequence[str]) -> list[Said]:
    return [Said(id=item.id, text=text) for item, text in zip(items, texts, strict=True)]


_BY_KIND: dict[Kind, Callable[[Items], Floors]] = {
    "report": _texts,
    "question": _answers,
    "label": _answers,
    "safety": _attitudes,
    "mask": _masks,
    "navigation": _looks,
    "grounding": _claims,
    "perturbation": _perturbed,
}
