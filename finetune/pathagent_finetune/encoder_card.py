"""The last stages of a training run: domain limits, scores, and the card that says both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune import slide_text
from pathagent_finetune.encoder_eval import evaluate
from pathagent_finetune.encoder_recipe import EncoderRecipe
from pathagent_finetune.loop import evaluations
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.card import ModelCard, hash_files
from pathagent_tools.encoders import domain
from pathagent_tools.encoders.clip import OpenClipEncoder
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.encoders.slide_text import save_head

DATA_VARIABLE: Final = "PATHAGENT_TEST_DATA"
SHRINKAGE: Final = 1e-5
FOREIGN_SHARE_ALLOWED: Final = 0.03
SLIDE_LIMIT: Final = 0.5
"""A slide is foreign when most of its tiles are; folds and blur alone make up to a third of them so."""


def finish(
    plan: EncoderRecipe, folder: Path, stores: Mapping[str, TileStore], *, data: Path | None = None
) -> ModelCard:
    """Fit the domain reference and the slide-text head, score the model, write `card.json` into `folder`.

    data: the shared data folder for the real-tissue table; `PATHAGENT_TEST_DATA` where None.
    """
    from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT

    (folder / "card.json").unlink(missing_ok=True)
    _card(plan, folder, stores, {}).save(folder)
    encoder = _opened(folder)
    domain.save_reference(fit_domain(encoder, stores["train"], stores["validation"]), folder)
    save_head(slide_text.train(encoder, stores["train"], seed=plan.seed), folder)
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
    """Reference of the training tiles; the tile limit leaves 3 % of fresh phantom tiles outside.

    Both stores hold scanners of training only: held-out scanners and real tissue are never looked at.
    """
    reference = domain.fit_reference(
        _statistics(encoder, train), shrinkage=SHRINKAGE, tile_limit=0.0, slide_limit=SLIDE_LIMIT
    )
    scores = reference.score(_statistics(encoder, validation))
    return replace(reference, tile_limit=float(np.quantile(scores, 1 - FOREIGN_SHARE_ALLOWED)))


def _statistics(encoder: OpenClipEncoder, store: TileStore) -> NDArray[np.float32]:
    return domain.channel_statistics(encoder, np.stack([store.image(i) for i in range(len(store))]))


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
            "training": evaluations(folder.parent),
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
