"""The last stage of a VLM training: scores on unseen tiles and scanners, and the card that says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathagent_finetune.tilestore import TileStore
from pathagent_finetune.vlm_eval import table
from pathagent_finetune.vlm_recipe import VLMRecipe
from pathagent_tools.core.card import CARD_NAME, ModelCard, hash_files


def finish(
    plan: VLMRecipe, folder: Path, stores: Mapping[str, TileStore], ceiling: dict[str, float]
) -> ModelCard:
    """Score the model of `folder` on `stores["test"]` and write `card.json` beside its weights.

    ceiling: slot scores of the tower with its own heads on the same tiles.
    """
    from pathagent_tools.vlm.inprocess import TransformersVLM

    (folder / CARD_NAME).unlink(missing_ok=True)
    vlm = TransformersVLM(folder, tile_px=plan.size.tile_px, tile_mpp=plan.mpp)
    scores = table(vlm, stores["test"], mpp=plan.mpp, seed=plan.seed) | {"classifier": ceiling}
    card = _card(plan, folder, stores, scores)
    card.save(folder)
    return card


def _card(
    plan: VLMRecipe, folder: Path, stores: Mapping[str, TileStore], scores: dict[str, Any]
) -> ModelCard:
    from pathagent_tools.phantom import PHANTOM_VERSION

    return ModelCard(
        id=plan.id,
        version=plan.version,
        kind="vlm",
        files=hash_files(folder),
        trained_on={
            "recipe": json.loads(plan.model_dump_json()),
            "phantom_version": PHANTOM_VERSION,
            "tiles": {name: store.digest for name, store in stores.items()},
            "texts": "simulated cases drawn from the same families; no real report",
            "real_tissue": "none",
        },
        licence_weights="Apache-2.0",
        licence_data="Apache-2.0 (rendered and simulated by this project)",
        tile_px=plan.size.tile_px,
        tile_mpp=plan.mpp,
        scores=scores,
        reproduce="pathagent finetune vlm --recipe vlm --out runs/vlm",
        not_for="Real tissue: it knows rendered phantoms only. Never for diagnosis or for patient care.",
    )
