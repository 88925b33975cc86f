"""The last stage of the generator's training: thumbnails for vetting, scores, and the card that says both."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np

from pathagent_finetune.encoder_card import DATA_VARIABLE
from pathagent_finetune.generator_eval import evaluate
from pathagent_finetune.generator_recipe import GeneratorRecipe
from pathagent_finetune.generator_store import MEMBRANES, NUCLEI, FieldStore
from pathagent_finetune.loop import evaluations
from pathagent_tools.core.card import CARD_NAME, ModelCard, hash_files
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.generators.embedded_generator import EmbeddedGenerator
from pathagent_tools.generators.library import HEARD, LayoutLibrary
from pathagent_tools.generators.sampling import Sampling
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.vetting import save_thumbnails

IMAGES: Final = 64
"""Images of the largest table."""
LAYOUTS: Final = 640
"""Layouts that ship beside the weights."""


def finish(
    plan: GeneratorRecipe,
    folder: Path,
    stores: Mapping[str, FieldStore],
    *,
    n: int = IMAGES,
    parts: Sequence[str] = (),
) -> ModelCard:
    """Write thumbnails, a library of layouts and `card.json` into `folder`; scores are of the test fields.

    parts: tables to measure now; those of an earlier card of the same weights are kept. Repairs of real
    tissue are measured where `PATHAGENT_TEST_DATA` names the shared data folder.
    """
    train = stores["train"]
    save_thumbnails(folder, [train.get("images", i) for i in range(len(train))])
    library_of(stores["layouts"]).save(folder)
    files = hash_files(folder)
    before = _earlier(folder, files)
    _card(plan, folder, stores, files, before).save(folder)
    studio = Studio(EmbeddedGenerator(folder), sampling=Sampling())
    variable = os.environ.get(DATA_VARIABLE)
    data = Path(variable) if variable else None
    scores = before | evaluate(studio, train, stores["test"], n=n, parts=parts, data=data)
    card = _card(plan, folder, stores, files, scores)
    card.save(folder)
    return card


def library_of(store: FieldStore) -> LayoutLibrary:
    """Layouts of fields without artifact, looks and grades in turn, for requests without a layout."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(store.truth):
        found = row["findings"]
        if found["artifact"] == "none":
            key = tuple(found[s] for s in ("tissue", "architecture", "nuclear_grade", "mitoses"))
            groups.setdefault(key, []).append(i)
    turns = [i for members in zip_longest(*groups.values()) for i in members if i is not None]
    chosen = np.array(sorted(turns[:LAYOUTS]), np.int64)
    layers, truth = store.stack("layers", chosen), [store.truth[i] for i in chosen]
    return LayoutLibrary(
        labels=store.stack("labels", chosen),
        nuclei=(layers & NUCLEI) > 0,
        membranes=(layers & MEMBRANES) > 0,
        fibres=store.stack("fibres", chosen),
        slots=np.array([[SLOTS[s].index(r["findings"][s]) for s in HEARD] for r in truth], np.int8),
        dials=np.array(
            [[r["density"], r["area_um2"], r["pleomorphism"], r["mitoses"]] for r in truth], np.float32
        ),
        mpp=np.array([r["mpp"] for r in truth], np.float32),
    )


def _earlier(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """Scores of a card that is of the same weights."""
    if not (folder / CARD_NAME).is_file():
        return {}
    card = ModelCard.load(folder)
    return dict(card.scores) if card.files == dict(files) else {}


def _card(
    plan: GeneratorRecipe,
    folder: Path,
    stores: Mapping[str, FieldStore],
    files: Mapping[str, str],
    scores: dict[str, Any],
) -> ModelCard:
    from pathagent_tools.phantom import PHANTOM_VERSION

    return ModelCard(
        id=plan.id,
        version=plan.version,
        kind="generator",
        files=dict(files),
        trained_on={
            "recipe": plan.model_dump(),
            "phantom_version": PHANTOM_VERSION,
            "fields": {name: {"n": len(store), "digest": store.digest} for name, store in stores.items()},
            "training": evaluations(folder.parent),
            "real_tissue": "none",
        },
        licence_weights="Apache-2.0",
        licence_data="Apache-2.0 (rendered by this project's phantom generator)",
        tile_px=plan.px,
        tile_mpp=1.0,
        scores=scores,
        reproduce="pathagent finetune generator --recipe generator --out runs/generator",
        not_for=(
            "Real tissue: it knows rendered phantoms only. Its images are illustrations, never evidence, "
            "never training data for a clinical model, never for diagnosis or for patient care."
        ),
    )
