"""What honest and dishonest systems say of the items of a benchmark."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from pathagent_eval.bench.benchmark import Benchmark, fixture
from pathagent_eval.bench.formats import items_of
from pathagent_eval.bench.item import ClaimSaid, Item, Said
from pathagent_eval.bench.masks import EVERYTHING, read_mask
from pathagent_eval.bench.phantoms import read_record, taken_apart
from pathagent_eval.perturbation import HERE

ERROR = "Traceback (most recent call last): ConnectionError: no answer from the server"


def items(bench: Benchmark) -> list[Item]:
    """The items of a benchmark's fixture."""
    return phantoms()[bench.task][0] if bench.phantom else items_of(bench, fixture(bench.task))


@cache
def phantoms() -> dict[str, tuple[list[Item], dict[str, list[Said]]]]:
    """Items and predictions of three slides that the product has read."""
    folder = fixture("phantom_report") / "slides"
    return taken_apart([read_record(path) for path in sorted(folder.glob("*.json"))])


def texts(found: Sequence[Item], said: Sequence[str | None]) -> list[Said]:
    """One text an item; None is a failure."""
    return [
        Said(id=i.id, text=t, status="report" if t is not None else "failed")
        for i, t in zip(found, said, strict=True)
    ]


def right(bench: Benchmark, found: Sequence[Item], folder: Path) -> list[Said]:
    """The right answer to every item."""
    if bench.kind == "mask":
        return texts(found, [binary(item, folder) for item in found])
    if bench.kind == "navigation":
        return [Said(id=i.id, looks=(on_lesion(i),) if i.truth["lesion_polygons"] else ()) for i in found]
    if bench.kind == "perturbation":
        gone = [{kind: "no" for kind in item.truth["places"] if kind != HERE} for item in found]
        return [Said(id=i.id, text=i.reference, perturbed=p) for i, p in zip(found, gone, strict=True)]
    return texts(found, [item.reference for item in found])


def binary(item: Item, folder: Path) -> str:
    """The reference mask as a black and white picture."""
    mask = read_mask(Path(item.reference), tuple(item.truth["inside"]))
    path = folder / f"{item.id}.png"
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return str(path)


def on_lesion(item: Item) -> tuple[float, float, float, float]:
    """A look in the middle of the largest lesion."""
    x, y = np.asarray(item.truth["lesion_polygons"][0]).mean(0)
    return float(x) - 192, float(y) - 192, 384, 384


def dishonest(found: Sequence[Item]) -> dict[str, list[Said]]:
    """Systems that have not looked: silence, errors, the commonest, another case's, chance, all options."""
    rng = random.Random(2)
    references = [i.reference for i in found]
    masks = "inside" in found[0].truth
    common = EVERYTHING if masks else Counter(references).most_common(1)[0][0]
    others = [rng.choice([r.reference for r in found if r.cluster != i.cluster] or [""]) for i in found]
    return {
        "nothing": texts(found, [""] * len(found)),
        "failures": texts(found, [None] * len(found)),
        "error text": texts(found, [ERROR] * len(found)),
        "commonest": texts(found, [common] * len(found)),
        "another case's": texts(found, others),
        "every option": texts(found, ["; ".join(i.options) for i in found]),
        "claims without looks": [
            Said(id=i.id, claims=(ClaimSaid(text="Necrosis is present."),)) for i in found
        ],
    }
