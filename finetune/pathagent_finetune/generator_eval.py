"""How good a generator is, on fields of other worlds, half of them from held-out scanners.

Every score stands beside what it can be compared with: truth against truth, a blurred truth, the nearest
training field, the measurement of the truth itself. Distances are on the encoder's features and are named
so; with few images they only rank. Edits of given images are in `generator_edits`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune.encoder_aux import soft_dice, true_shares
from pathagent_finetune.generator_edits import counterfactual, restoration, stain
from pathagent_finetune.generator_features import COMPONENTS, axes_of, features_of
from pathagent_finetune.generator_store import MEMBRANES, NUCLEI, FieldStore
from pathagent_tools.core.protocols import Image
from pathagent_tools.encoders.tissue_map import tissue_shares
from pathagent_tools.generators.conditions import WORD_SLOTS, Conditions, Layout, stain_code
from pathagent_tools.generators.library import COMPOSING
from pathagent_tools.generators.read_back import SHOWS, nuclear_numbers, read_back
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.usefulness import FieldBank, class_of, embedded, usefulness
from pathagent_tools.measure.image_scores import frechet, kid, ks, wasserstein

FRECHET: Final = f"Fréchet on {COMPONENTS} components"
BLUR_PX: Final = 2.5
DIAL_LEVELS: Final = {
    "density": (500, 2000, 4000, 6500, 9000),
    "size": (30, 42, 55, 72, 95),
    "pleomorphism": (0.12, 0.17, 0.24, 0.33, 0.45),
}
TRUE_DIALS: Final = {"density": "density", "size": "area_um2", "pleomorphism": "pleomorphism"}


def evaluate(
    studio: Studio,
    train: FieldStore,
    test: FieldStore,
    *,
    n: int,
    parts: Sequence[str] = (),
    data: Path | None = None,
) -> dict[str, Any]:
    """All tables, or the named ones.

    n: fields of the largest tables; the others use a share of it. data: the shared data folder, for repairs
    of real tissue.
    """
    tables: dict[str, Callable[[], dict[str, Any]]] = {
        "fidelity": lambda: fidelity(studio, train, test, n),
        "read_back": lambda: read_back_by_class(studio, max(2, n // 16)),
        "mask_to_image": lambda: mask_to_image(studio, test, max(4, n // 4)),
        "nuclei": lambda: nuclei(studio, test, max(4, n // 4)),
        "dials": lambda: dials(studio, test, max(1, n // 16)),
        "restoration": lambda: restoration(studio, test, max(4, n), data),
        "stain": lambda: stain(studio, test, max(4, n // 2)),
        "counterfactual": lambda: counterfactual(studio, test, max(3, n // 4)),
        "usefulness": lambda: usefulness_by_source(studio, train, max(2, n // 16)),
        "copies": lambda: copies(studio, train, test, max(8, n // 2)),
    }
    scores = {name: table() for name, table in tables.items() if not parts or name in parts}
    return scores | {"sampling": studio.sampling.model_dump()}


def fidelity(studio: Studio, train: FieldStore, test: FieldStore, n: int) -> dict[str, Any]:
    """Fréchet and kernel distances to half of the held-out truth, for the other half and what imitates it."""
    from scipy.ndimage import gaussian_filter

    picked = np.arange(min(2 * n, len(test)))
    truth, other = picked[::2], picked[1::2]
    sets: dict[str, list[Image]] = {
        "floor: other truth": [test.get("images", int(i)) for i in other],
        "ceiling: blurred truth": [
            gaussian_filter(test.get("images", int(i)), (BLUR_PX, BLUR_PX, 0)) for i in other
        ],
        "nearest training field": _nearest_fields(train, test, other),
    }
    for name, layout in (("generated from words", False), ("generated from layouts", True)):
        told = [_told(test, int(i), layout=layout) for i in other]
        sets[name] = list(studio.draw(told, [int(i) for i in other]))
    reference = features_of(studio.encoder, [test.get("images", int(i)) for i in truth])
    some = np.linspace(0, len(train) - 1, min(300, len(train))).astype(int)
    mean, axes = axes_of(features_of(studio.encoder, [train.get("images", int(i)) for i in some]))
    name_of = f"{studio.encoder.id} {studio.encoder.revision[:12]}"
    out: dict[str, Any] = {"features": name_of, "n": len(other)}
    for name, images in sets.items():
        found = features_of(studio.encoder, images)
        out[name] = {
            FRECHET: round(frechet((found - mean) @ axes, (reference - mean) @ axes, on=name_of).value, 3),
            "KID x 1000": round(1000 * kid(found, reference, on=name_of).value, 2),
        }
    return out


def read_back_by_class(studio: Studio, each: int) -> dict[str, Any]:
    """Share of images that the encoder reads as the class that was asked for, by class."""
    out: dict[str, Any] = {}
    for number, (key, (tissue, architecture)) in enumerate(SHOWS.items()):
        words = {"tissue": tissue, "architecture": architecture}
        seeds = [800_000 + 1000 * number + i for i in range(each)]
        images = studio.draw([Conditions(words=words)] * each, seeds)
        found = read_back(studio.encoder, images, [words] * each, 1.0)
        out[key] = round(float(np.mean([all(r.agrees for r in f) for f in found])), 3)
    return {
        "mean": round(float(np.mean(list(out.values()))), 3),
        "chance": round(1 / len(out), 3),
        "each": each,
        **out,
    }


def mask_to_image(studio: Studio, test: FieldStore, n: int) -> dict[str, Any]:
    """Dice with the layout of what is found in the image, nuclei and tissues; the true image's beside it."""
    from pathagent_tools.measure import detect_nuclei, estimate_stain

    chosen = [i for i in range(len(test)) if (test.get("layers", i) & NUCLEI).astype(bool).mean() > 0.05][:n]
    images = studio.draw([_told(test, i, layout=True) for i in chosen], chosen)
    drawn: list[float] = []
    true: list[float] = []
    for i, image in zip(chosen, images, strict=True):
        wanted = (test.get("layers", i) & NUCLEI) > 0
        for picture, scores in ((image, drawn), (test.get("images", i), true)):
            found = detect_nuclei(picture, 1.0, estimate_stain(picture)).labels > 0
            scores.append(2 * float((found & wanted).sum()) / max(1, int(found.sum() + wanted.sum())))
    return {
        "nuclei_dice": round(float(np.mean(drawn)), 3),
        "nuclei_dice_of_the_true_images": round(float(np.mean(true)), 3),
        "tissue_dice": _tissue_dice(studio, list(images), [test.get("labels", i) for i in chosen]),
        "tissue_dice_of_the_true_images": _tissue_dice(
            studio, [test.get("images", i) for i in chosen], [test.get("labels", i) for i in chosen]
        ),
        "n": len(chosen),
    }


def nuclei(studio: Studio, test: FieldStore, n: int) -> dict[str, Any]:
    """How the sizes and densities of nuclei are spread: painted from layouts, and other truth, beside truth.

    ks: greatest gap between two distributions; w1: Wasserstein distance, in µm² and nuclei per mm².
    """
    from pathagent_tools.measure import detect_nuclei, estimate_stain

    def measured(images: Sequence[Image]) -> tuple[list[float], list[float]]:
        found = [detect_nuclei(image, 1.0, estimate_stain(image)) for image in images]
        mm2 = [image.shape[0] * image.shape[1] / 1e6 for image in images]
        areas = [float(area) for one in found for area in one.area_um2]
        return areas, [len(one) / size for one, size in zip(found, mm2, strict=True)]

    chosen = [i for i in range(len(test)) if (test.get("layers", i) & NUCLEI).astype(bool).mean() > 0.05]
    first, second = chosen[: 2 * n : 2], chosen[1 : 2 * n : 2]
    reference = measured([test.get("images", i) for i in first])
    sets: dict[str, Sequence[Image]] = {
        "painted on the same layouts": list(studio.draw([_told(test, i, layout=True) for i in first], first)),
        "other truth": [test.get("images", i) for i in second],
    }
    out: dict[str, Any] = {"n": len(first)}
    for name, images in sets.items():
        row = {}
        for what, ours, theirs in zip(("area", "density"), measured(list(images)), reference, strict=True):
            row[f"{what}_ks"] = round(ks(ours, theirs, of=what).value, 3)
            row[f"{what}_w1"] = round(wasserstein(ours, theirs, of=what).value, 1)
        out[name] = row
    return out


def _tissue_dice(
    studio: Studio, images: Sequence[Image], labels: Sequence[NDArray[np.uint8]]
) -> dict[str, float]:
    """Per tissue of the layouts, and their mean: soft Dice of the encoder's tissue map, cells of 16 µm."""
    names, said = tissue_shares(studio.encoder, np.stack(images))
    true = true_shares(labels, said.shape[1], names)
    there = [k for k in range(len(names)) if true[..., k].sum() > 0]
    dice = {names[k]: round(soft_dice(said[..., k], true[..., k]), 3) for k in there}
    return {"mean": round(float(np.mean(list(dice.values()))), 3), **dice}


def dials(studio: Studio, test: FieldStore, repeats: int) -> dict[str, Any]:
    """Rank correlation of what was asked and what nuclear measurements find in the image.

    true_images: of what is true and what the same measurements find in unseen fields of tumour, which no
    generator drew; it shows how far the measurements go.
    """
    words = {"tissue": "invasive tumour", "architecture": "solid nests"}
    tumour = [i for i, row in enumerate(test.truth) if row["findings"]["tissue"] == "invasive tumour"]
    known = [nuclear_numbers(test.get("images", i), 1.0, _told(test, i, layout=True).layout) for i in tumour]
    out: dict[str, Any] = {}
    control: dict[str, float] = {}
    for dial, levels in DIAL_LEVELS.items():
        told = [Conditions(words=words, dials={dial: float(v)}) for _ in range(repeats) for v in levels]
        seeds = [900_000 + r for r in range(repeats) for _ in levels]
        told = studio.laid_out(told, seeds)
        drawn = zip(studio.draw(told, seeds), told, strict=True)
        measured = [nuclear_numbers(image, 1.0, asked.layout)[dial] for image, asked in drawn]
        out[dial] = _rank([asked.dials[dial] for asked in told], measured)
        true = [float(test.truth[i][TRUE_DIALS[dial]]) for i in tumour]
        control[dial] = _rank(true, [numbers[dial] for numbers in known])
    return out | {"images": repeats * len(levels), "true_images": {**control, "images": len(tumour)}}


def usefulness_by_source(studio: Studio, train: FieldStore, each: int) -> dict[str, Any]:
    """What a few-shot classifier gains on unseen fields: from generated images, from as many rendered ones.

    Empty where no rendered fields lie beside the weights.
    """
    bank = FieldBank.load(Path(studio.generator.folder)) if hasattr(studio.generator, "folder") else None
    if bank is None:
        return {}
    shown, labels = list(SHOWS.values()), [k for k in range(len(SHOWS)) for _ in range(each)]
    told = [Conditions(words={"tissue": shown[k][0], "architecture": shown[k][1]}) for k in labels]
    sets = {"generated": (list(studio.draw(told, [950_000 + i for i in range(len(told))])), labels)}
    rows: dict[int, list[int]] = {k: [] for k in range(len(SHOWS))}
    for i in reversed(range(len(train))):  # from the end: the bank's few are from the beginning
        found = train.truth[i]["findings"]
        number = class_of({s: found[s] for s in COMPOSING})
        plain = found["artifact"] == "none" and train.truth[i]["mpp"] == 1.0
        if number is not None and plain and len(rows[number]) < each:
            rows[number].append(i)
    sets["rendered"] = (
        [train.get("images", i) for of in rows.values() for i in of],
        [k for k, of in rows.items() for _ in of],
    )
    out: dict[str, Any] = {}
    for name, (images, classes) in sets.items():
        features = embedded(studio.encoder, images, 1.0)
        assert features is not None
        found_useful = usefulness(bank, features, classes)
        out |= {"few": found_useful.few, "fields": found_useful.fields, "before": found_useful.before}
        out[name] = {"images": found_useful.images, "after": found_useful.after}
    return out


def copies(studio: Studio, train: FieldStore, test: FieldStore, n: int) -> dict[str, Any]:
    """Correlation with the nearest training thumbnail: generated images beside unseen true ones."""
    from pathagent_tools.generators.vetting import COPY, nearest, thumbnails, unit

    library = thumbnails([train.get("images", i) for i in range(len(train))])
    vectors = unit(library.reshape(len(library), -1).astype(np.float32))
    drawn = studio.draw([_told(test, i, layout=False) for i in range(n)], list(range(500, 500 + n)))
    generated = [nearest(image, vectors)[0] for image in drawn]
    unseen = [nearest(test.get("images", i), vectors)[0] for i in range(n)]
    return {
        "generated_q95": round(float(np.quantile(generated, 0.95)), 3),
        "unseen_truth_q95": round(float(np.quantile(unseen, 0.95)), 3),
        "possible_copies": int((np.array(generated) >= COPY).sum()),
        "n": n,
    }


def seconds_and_memory(
    studio: Studio, test: FieldStore, steps: Sequence[int], n: int
) -> list[dict[str, Any]]:
    """For each number of steps: CPU seconds an image, peak memory, read-back and kernel distance."""
    import resource

    rows = []
    reference = features_of(studio.encoder, [test.get("images", i) for i in range(min(4 * n, len(test)))])
    for count in steps:
        studio.sampling = studio.sampling.model_copy(update={"steps": count})
        told = [_told(test, i, layout=False) for i in range(n)]
        started = time.process_time()
        images = studio.draw(told, list(range(n)))
        spent = (time.process_time() - started) / n
        found = read_back(studio.encoder, images, [dict(t.words) for t in told], 1.0)
        rows.append(
            {
                "steps": count,
                "cpu_seconds_an_image": round(spent, 2),
                "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "read_back": round(float(np.mean([all(r.agrees for r in f) for f in found])), 3),
                "KID x 1000": round(
                    1000 * kid(features_of(studio.encoder, list(images)), reference, on="").value, 2
                ),
                "n": n,
            }
        )
    return rows


def _rank(asked: Sequence[float], found: Sequence[float]) -> float:
    from scipy.stats import spearmanr

    return round(float(spearmanr(asked, found).statistic), 3)


def _told(test: FieldStore, i: int, *, layout: bool) -> Conditions:
    """The true conditions of a field: words and stain, or its layout and stain."""
    findings = test.truth[i]["findings"]
    code = stain_code(test.get("images", i))
    if not layout:
        return Conditions(words={s: findings[s] for s in WORD_SLOTS}, stain=code)
    layers = test.get("layers", i)
    fibres = (test.get("fibres", i) / 255 * np.pi).astype(np.float32)
    given = Layout(test.get("labels", i), (layers & NUCLEI) > 0, (layers & MEMBRANES) > 0, fibres)
    return Conditions(stain=code, layout=given)


def _nearest_fields(train: FieldStore, test: FieldStore, chosen: NDArray[np.int64]) -> list[Image]:
    from pathagent_tools.generators.vetting import nearest, thumbnails, unit

    library = thumbnails([train.get("images", i) for i in range(len(train))])
    vectors = unit(library.reshape(len(library), -1).astype(np.float32))
    return [train.get("images", nearest(test.get("images", int(i)), vectors)[1]) for i in chosen]
