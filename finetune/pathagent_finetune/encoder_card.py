"""The last stages of a training run: domain limits, scores, and the card that says both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pathagent_finetune.encoder_eval import evaluate
from pathagent_finetune.encoder_recipe import EncoderRecipe
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.card import ModelCard, hash_files
from pathagent_tools.encoders import domain
from pathagent_tools.encoders.clip import OpenClipEncoder
from pathagent_tools.encoders.registry import load_encoder

DATA_VARIABLE: Final = "PATHAGENT_TEST_DATA"
SHRINKAGE: Final = 0.01
FOREIGN_SHARE_ALLOWED: Final = 0.02
SLIDE_LIMIT: Final = 0.5
FIT_TILES: Final = 8000


def finish(
    plan: EncoderRecipe, folder: Path, stores: Mapping[str, TileStore], *, data: Path | None = None
) -> ModelCard:
    """Fit the domain reference, score the model, write `card.json` into `folder`.

    data: the shared data folder for the real-tissue table; `PATHAGENT_TEST_DATA` where None.
    """
    from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT

    (folder / "card.json").unlink(missing_ok=True)
    _card(plan, folder, stores, {}).save(folder)
    encoder = _opened(folder)
    domain.save_reference(fit_domain(encoder, stores["train"], stores["validation"]), folder)
    _card(plan, folder, stores, {}).save(folder)
    encoder = _opened(folder)
    variable = os.environ.get(DATA_VARIABLE)
    held_out = [s.name for s in SCANNERS_HELD_OUT]
    scores = evaluate(
        encoder, stores["test"], held_out=held_out, data=data or (Path(variable) if variable else None)
    )
    card = _card(plan, folder, stores, scores)
    card.save(folder)
    return card


def fit_domain(encoder: OpenClipEncoder, train: TileStore, validation: TileStore) -> domain.DomainReference:
    """Reference of the training tiles; the tile limit leaves 2 % of unseen scanners' tiles outside.

    The limit is set by leaving out one training scanner at a time, fitting on the others and taking the
    worst: held-out scanners themselves are never looked at.
    """
    step = max(1, len(train) // FIT_TILES)
    index = list(range(0, len(train), step))
    statistics = domain.channel_statistics(encoder, np.stack([train.image(i) for i in index]))
    scanners = np.array([train.truth[i]["scanner"] for i in index])
    fresh = domain.channel_statistics(
        encoder, np.stack([validation.image(i) for i in range(len(validation))])
    )
    fresh_scanners = np.array([t["scanner"] for t in validation.truth])
    limits = []
    for name in np.unique(scanners):
        others = _fit(statistics[scanners != name])
        limits.append(
            float(np.quantile(others.score(fresh[fresh_scanners == name]), 1 - FOREIGN_SHARE_ALLOWED))
        )
    return _fit(statistics, tile_limit=max(limits))


def _fit(statistics: Any, tile_limit: float = 1.0) -> domain.DomainReference:
    return domain.fit_reference(
        statistics, shrinkage=SHRINKAGE, tile_limit=tile_limit, slide_limit=SLIDE_LIMIT
    )


def _opened(folder: Path) -> OpenClipEncoder:
    encoder = load_encoder(f"local-dir:{folder}")
    assert isinstance(encoder, OpenClipEncoder)
    return encoder


def _card(
    plan: EncoderRecipe, folder: Path, stores: Mapping[str, TileStore], scores: dict[str, Any]
) -> ModelCard:
    from pathagent_tools.phantom import PHANTOM_VERSION

    return ModelCard(
        id=plan.id,
        version=plan.version,
        kind="encoder",
        files=hash_files(folder),
        trained_on={
            "recipe": plan.model_dump(),
            "phantom_version": PHANTOM_VERSION,
            "tiles": {name: store.digest for name, store in stores.items()},
            "real_tissue": "none: neither weights nor limits were fitted on real tissue",
        },
        licence_weights="Apache-2.0",
        licence_data="Apache-2.0 (rendered by this project's phantom generator)",
        tile_px=plan.tile_px,
        tile_mpp=plan.mpp,
        scores=scores,
        reproduce="pathagent finetune encoder --recipe encoder --out runs/encoder",
        not_for="Real tissue: it knows rendered phantoms only. Never for diagnosis or for patient care.",
    )
