"""How good the encoder is: tile classes by words, wordings it never saw, retrieval, and the domain table.

Everything is scored on unseen phantom tiles, scanners of training and held-out ones apart. Real tissue is
only asked one thing: is it recognised as foreign?
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from pathagent_finetune import captions as words
from pathagent_finetune import slide_text
from pathagent_finetune.encoder_aux import soft_dice, true_shares
from pathagent_finetune.real_tiles import real_tiles
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.scoring.resampling import bootstrap
from pathagent_tools.encoders import domain, reading, tissue_map
from pathagent_tools.encoders import slide_text as slide_text_head
from pathagent_tools.encoders.clip import OpenClipEncoder

GRADES: Final = ("low", "intermediate", "high")
RETRIEVAL_POOL: Final = 128


def evaluate(
    encoder: OpenClipEncoder, test: TileStore, *, held_out: Sequence[str], data: Path | None = None
) -> dict[str, Any]:
    """Scores of an encoder on a test store.

    held_out: names of the scanners that no recipe uses. data: the shared data folder, for the domain table
    of real tiles; that part is left out where None.
    """
    images = np.stack([test.image(i) for i in range(len(test))])
    started = time.process_time()
    features = encoder.encode_tiles(images)
    seconds = time.process_time() - started
    foreign = np.array([t["scanner"] in held_out for t in test.truth])
    truth = [words.look_of(test.findings(i)) for i in range(len(test))]
    scores: dict[str, Any] = {
        "zero_shot": _by_scanner(encoder, features, truth, foreign),
        "zero_shot_held_out_wordings": _wordings(encoder, features, truth),
        "grade_zero_shot": _grades(encoder, features, test),
        "retrieval": _retrieval(encoder, features, test),
        "tissue_map": _tissue_map(encoder, images, test),
        "tiles_per_cpu_second": round(len(images) / seconds, 1),
        "n": len(test),
    }
    if head := slide_text_head.head_of(encoder):
        scores["slide_to_report, virtual slides"] = slide_text.scores(encoder, head, test)
    if encoder.folder is not None and (encoder.folder / domain.DOMAIN_FILE).is_file():
        scores["domain"] = _domain(encoder, images, foreign, data)
    return scores


def zero_shot_accuracy(encoder: SlideEncoder, store: TileStore) -> float:
    """Balanced accuracy of naming the tiles of a store by the default phrases of the tile classes."""
    features = encoder.encode_tiles(np.stack([store.image(i) for i in range(len(store))]))
    keys = reading.class_keys()
    said = [keys[i] for i in reading.zero_shot(features, encoder).argmax(1)]
    truth = [words.look_of(store.findings(i)) for i in range(len(store))]
    return round(balanced_accuracy(truth, said).value, 4)


def _by_scanner(
    encoder: OpenClipEncoder, features: Any, truth: Sequence[str], foreign: Any
) -> dict[str, Any]:
    keys = reading.class_keys()
    said = [keys[i] for i in reading.zero_shot(features, encoder).argmax(1)]
    table: dict[str, Any] = {"classes": len(keys)}
    for name, mask in (
        ("all", np.ones(len(truth), bool)),
        ("train scanners", ~foreign),
        ("held-out scanners", foreign),
    ):
        chosen = np.flatnonzero(mask)
        if len(chosen) == 0:
            continue
        table[name] = _balanced([truth[i] for i in chosen], [said[i] for i in chosen])
    table["by_class"] = {
        key: round(float(np.mean([s == key for t, s in zip(truth, said, strict=True) if t == key])), 3)
        for key in keys
        if key in truth
    }
    table["majority"] = round(1 / len(set(truth)), 3)
    return table


def _balanced(truth: Sequence[str], said: Sequence[str]) -> dict[str, Any]:
    """Balanced accuracy with a bootstrap interval over tiles."""
    rng = np.random.default_rng(0)
    t, s = np.array(truth), np.array(said)
    draws = [
        balanced_accuracy(t[i].tolist(), s[i].tolist()).value
        for i in (rng.integers(0, len(t), len(t)) for _ in range(300))
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return {
        "balanced_accuracy": round(balanced_accuracy(truth, said).value, 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "n": len(t),
    }


def _wordings(encoder: OpenClipEncoder, features: Any, truth: Sequence[str]) -> dict[str, Any]:
    """Zero-shot with class names phrased in ways that training never saw, in frames that it never saw."""
    looks = words.wordings()["looks"]
    phrases = {key: looks[key]["held_out"] for key in reading.class_keys()}
    frames = words.wordings()["frames"]["held_out"]
    said = _said(encoder, features, phrases, frames)
    singles = []
    for turn in range(3):
        one = {key: [texts[turn % len(texts)]] for key, texts in phrases.items()}
        singles.append(balanced_accuracy(truth, _said(encoder, features, one, ["{}"])).value)
    return _balanced(truth, said) | {"one_phrase_each": [round(s, 3) for s in singles]}


def _said(
    encoder: OpenClipEncoder, features: Any, phrases: Mapping[str, Sequence[str]], frames: Sequence[str]
) -> list[str]:
    keys = list(phrases)
    return [keys[i] for i in reading.zero_shot(features, encoder, phrases, templates=frames).argmax(1)]


def _grades(encoder: OpenClipEncoder, features: Any, test: TileStore) -> dict[str, Any]:
    """Three nuclear grades on invasive tumour, by words alone."""
    index = [i for i in range(len(test)) if _tumour_with_grade(test, i)]
    phrases = {
        grade: [f"invasive tumour with {grade} grade nuclei", f"tumour, {grade} nuclear grade"]
        for grade in GRADES
    }
    said = _said(encoder, features[index], phrases, ["{}"])
    return _balanced([test.findings(i).nuclear_grade for i in index], said)


def _tumour_with_grade(test: TileStore, index: int) -> bool:
    findings = test.findings(index)
    return findings.tissue == "invasive tumour" and findings.nuclear_grade in GRADES


def _retrieval(encoder: OpenClipEncoder, features: Any, test: TileStore) -> dict[str, Any]:
    """Tile → caption among 128, a hit being any caption that is true of the tile."""
    hits: dict[int, list[float]] = {1: [], 5: []}
    rng = Random("retrieval")
    for start in range(0, len(test) - RETRIEVAL_POOL + 1, RETRIEVAL_POOL):
        index = range(start, start + RETRIEVAL_POOL)
        findings = [test.findings(i) for i in index]
        fractions = [test.truth[i]["fractions"] for i in index]
        captions = [words.caption(f, s, rng) for f, s in zip(findings, fractions, strict=True)]
        true, _ = words.fits(words.facts_of(findings, fractions), captions)
        texts = reading.unit(encoder.encode_texts([c.text for c in captions]))
        order = np.argsort(-(reading.unit(features[list(index)]) @ texts.T), axis=1)
        for k, found in hits.items():
            found.extend(np.take_along_axis(true, order[:, :k], 1).any(1).astype(float).tolist())
    pool = {"pool": RETRIEVAL_POOL, "hit": "a caption that is true of the tile"}
    return pool | {f"R@{k}": round(bootstrap(v, range(len(v))).value, 3) for k, v in hits.items() if v}


def _tissue_map(encoder: OpenClipEncoder, images: Any, test: TileStore) -> dict[str, Any]:
    """Per tissue: soft Dice of the map's cells, and the mapped area over the true one."""
    names, said = tissue_map.tissue_shares(encoder, images)
    truth = true_shares([test.label(i) for i in range(len(test))], said.shape[1], names)
    table: dict[str, Any] = {"cell_um": test.images[0].shape[1] * encoder.tile_mpp / said.shape[1]}
    for k, name in enumerate(names):
        ours, true = said[..., k], truth[..., k]
        area = float(ours.sum() / true.sum())
        table[name] = {"dice": round(soft_dice(ours, true), 3), "area": round(area, 3)}
    return table


def _domain(encoder: OpenClipEncoder, images: Any, foreign: Any, data: Path | None) -> dict[str, Any]:
    """Share of tiles called foreign: phantoms should not be, real tissue should."""
    limit = domain.reference_of(encoder).tile_limit
    phantom = domain.domain_score(encoder, images)
    table = {
        "phantom, train scanners": _share(phantom[~foreign], limit),
        "phantom, held-out scanners": _share(phantom[foreign], limit),
    }
    if data is not None:
        for name, tiles in real_tiles(data, encoder.tile_px).items():
            table[f"real: {name}"] = _share(domain.domain_score(encoder, tiles), limit)
    return {"called_foreign": table, "tile_limit": round(limit, 3)}


def _share(scores: Any, limit: float) -> dict[str, Any]:
    return {"share": round(float((scores > limit).mean()), 3), "n": len(scores)}
