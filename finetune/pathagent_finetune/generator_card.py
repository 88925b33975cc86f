"""The last stage of the generator's training: thumbnails for vetting, scores, and the card that says both."""

from __future__ import annotations

import os
from collections import Counter
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
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.encoders.reading import class_keys
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.generators.embedded_generator import EmbeddedGenerator
from pathagent_tools.generators.library import COMPOSING, HEARD, LayoutLibrary
from pathagent_tools.generators.read_back import class_scores, targets
from pathagent_tools.generators.sampling import Sampling
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.usefulness import FEW, FieldBank, class_of, embedded, name_of
from pathagent_tools.generators.vetting import save_thumbnails
from pathagent_tools.phantom.stain import SCANNERS_TRAIN

IMAGES: Final = 64
"""Images of the largest table."""
LAYOUTS: Final = 640
"""Layouts that ship beside the weights."""
SCORED: Final = 24
"""Unseen fields of each class on which a classifier is scored."""
SURE: Final = 0.99
"""Score of the encoder from which on a field plainly shows its class."""


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
    encoder = load_encoder("embedded")
    library_of(stores["layouts"], encoder).save(folder)
    bank_of(train, stores["test"], encoder).save(folder)
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


def library_of(store: FieldStore, encoder: SlideEncoder) -> LayoutLibrary:
    """Layouts of fields without artifact, looks and grades in turn, for requests without a layout.

    What is the most of a field need not stand in its middle: a field that the encoder does not surely read as
    what it is said to show is left out.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, (row, plain) in enumerate(zip(store.truth, _plain(store, encoder), strict=True)):
        found = row["findings"]
        if plain and found["artifact"] == "none":
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


def bank_of(train: FieldStore, test: FieldStore, encoder: SlideEncoder) -> FieldBank:
    """A few fields of each class from the training's worlds, and up to `SCORED` of each from others."""
    known = {scanner.name for scanner in SCANNERS_TRAIN}
    picked: list[tuple[FieldStore, int, int, bool]] = []
    for store, scored, most in ((train, False, FEW), (test, True, SCORED)):
        taken: Counter[int] = Counter()
        for i, row in enumerate(store.truth):
            number = class_of({slot: row["findings"][slot] for slot in COMPOSING})
            plain = row["findings"]["artifact"] == "none" and row["mpp"] == 1.0
            if number is not None and plain and taken[number] < most:
                taken[number] += 1
                picked.append((store, i, number, scored))
    features = embedded(encoder, [store.get("images", i) for store, i, _, _ in picked], 1.0)
    if features is None:
        raise UserError("The fields of this recipe show less than one tile of the encoder.")
    return FieldBank(
        features=features,
        classes=np.array([number for _, _, number, _ in picked], np.int8),
        scored=np.array([scored for _, _, _, scored in picked]),
        seen=np.array([store.truth[i]["scanner"] in known for store, i, _, _ in picked]),
        encoder=name_of(encoder),
    )


def _plain(store: FieldStore, encoder: SlideEncoder) -> list[bool]:
    """Whether each rendered field is surely read as what it shows, whichever way it is mirrored.

    Also where it is too small to be read.
    """
    keys, plain = class_keys(), []
    for i, row in enumerate(store.truth):
        image = store.get("images", i)
        mirrored = [np.ascontiguousarray(image[::down, ::across]) for down in (1, -1) for across in (1, -1)]
        scores = class_scores(encoder, mirrored, row["mpp"])
        shown = [keys.index(key) for key in targets({s: row["findings"][s] for s in COMPOSING})]
        plain.append(scores is None or bool((scores[:, shown].sum(1) >= SURE).all()))
    return plain


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
