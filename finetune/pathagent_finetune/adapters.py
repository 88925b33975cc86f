"""Adapters of the embedded VLM, one a group of roles: phantom corpus → LoRA → scores before and after.

A recipe draws the corpus, which is written as the chat JSONL that any trainer of such models reads, and
`lora_train` tunes on it as it does on a user's data. The same call goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from pathagent_finetune.corpus.example import Example
from pathagent_finetune.lora_recipe import LoraRecipe
from pathagent_finetune.lora_train import tune
from pathagent_finetune.mix import describe_tile, text_example, verify_tile
from pathagent_finetune.role_eval import answer_table, diagnose_table
from pathagent_finetune.tile_measures import MEASURED_MPP, measured_tiles
from pathagent_finetune.tilestore import TileSets, TileStore, render_tiles
from pathagent_finetune.tuning_example import Split, TuningExample, from_phantom, write_chat_jsonl
from pathagent_finetune.verify_eval import verify_table
from pathagent_finetune.vlm_eval import table as describe_table
from pathagent_finetune.vlm_recipe import recipe_text
from pathagent_finetune.write_eval import write_table
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Role, VisionLanguageModel

log = logging.getLogger(__name__)

CLOSER_MARGIN = 32
"""px at 0.5 µm per px: a field of 96 µm lies in the middle of a tile of the encoder, 128 µm wide."""
VALIDATION_TEXTS = 1_000_000_000
"""Validation examples are drawn this far from the training ones."""


class AdapterRecipe(Frozen):
    """Everything that decides an adapter of the embedded base, but the code."""

    tuning: LoraRecipe
    roles: tuple[Role, ...] = Field(min_length=1, description="requests that the adapter answers")
    score: Literal["describe", "answer", "diagnose", "write", "verify"]
    scored: int = Field(gt=0, description="unseen cases (describe: all unseen tiles) of each score")
    train: int = Field(gt=0, description="training examples")
    validation: int = Field(gt=0)
    first_seed: int = Field(ge=0)
    mix: dict[str, float] = Field(default_factory=dict, description="kinds of texts, see `mix.MIX`")
    reword: float = Field(default=0.0, ge=0, le=1, description="share of questions in many wordings")
    narrow: float = Field(default=0.0, ge=0, le=1, description="share of answers from one to three looks")
    tiles: TileSets | None = Field(default=None, description="where the examples show tiles")
    measured: bool = Field(default=False, description="tiles are told with what a run would measure of them")
    mistold: float = Field(
        default=0.0, ge=0, le=1, description="share of the base's tiles told with what another one measures"
    )
    closer: TileSets | None = Field(
        default=None, description="tiles at 0.5 µm per px, half of the examples where given"
    )
    tile_px: int = Field(default=192, gt=0)

    @model_validator(mode="after")
    def _measured_tiles_alone_are_closer_or_told_wrongly(self) -> AdapterRecipe:
        if (self.closer or self.mistold) and not (self.tiles and self.measured):
            raise ValueError("closer and mistold need tiles and measured: true")
        return self


def load_adapter_recipe(recipe: str | Path) -> AdapterRecipe:
    """A recipe file, or one that ships with the package (`adapter-answer` …). UserError names the fault."""
    try:
        return AdapterRecipe.model_validate(yaml.safe_load(recipe_text(recipe)))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"Recipe {recipe} cannot be used: {error}") from None


def train_adapter(
    recipe: str | Path, out: Path, *, tiles: Path | None = None, seed: int | None = None
) -> Path:
    """Draw the corpus, tune, score base and adapter, and complete the card in `out`, which is returned.

    tiles: where rendered tiles are kept, by default `out/tiles`. seed: another than the recipe's.
    Raises UserError as `lora_train.tune` does.
    """
    plan = load_adapter_recipe(recipe)
    if seed is not None:
        plan = plan.model_copy(update={"tuning": plan.tuning.model_copy(update={"seed": seed})})
    scales = _scales(plan, tiles or out / "tiles")
    corpus = out / "corpus" / "examples.jsonl"
    if not corpus.is_file():
        write_chat_jsonl(_corpus(plan, scales, corpus.parent), corpus)
    tune(plan.tuning, corpus, out)
    card = ModelCard.load(out)
    if "before" not in card.scores:
        _score(plan, scales, card, out)
    return out


@dataclass(frozen=True)
class _Shown:
    """Tiles of one scale, by split."""

    stores: dict[str, TileStore]
    mpp: float

    def field_um(self, plan: AdapterRecipe) -> float:
        """Side of a tile."""
        return plan.tile_px * self.mpp


def _scales(plan: AdapterRecipe, folder: Path) -> list[_Shown]:
    """The tiles of each scale; those that are measured are rendered at a run's resolution, and those of the
    closer one in as much of their surroundings as the encoder reads them in."""
    if plan.tiles is None:
        return []
    if not plan.measured:
        return [
            _Shown(render_tiles(plan.tiles, folder, px=plan.tile_px, mpp=plan.tuning.mpp), plan.tuning.mpp)
        ]
    finer = round(plan.tuning.mpp / MEASURED_MPP)
    stores = render_tiles(plan.tiles, folder, px=plan.tile_px * finer, mpp=MEASURED_MPP)
    scales = [_Shown({name: replace(s, shrink=finer) for name, s in stores.items()}, plan.tuning.mpp)]
    if plan.closer is not None:
        close = render_tiles(
            plan.closer, folder / "closer", px=plan.tile_px, mpp=MEASURED_MPP, margin=CLOSER_MARGIN
        )
        scales.append(_Shown(close, MEASURED_MPP))
    return scales


def _corpus(plan: AdapterRecipe, scales: Sequence[_Shown], folder: Path) -> Iterator[TuningExample]:
    splits: tuple[tuple[Split, int, int], ...] = (
        ("train", plan.train, plan.first_seed),
        ("validation", plan.validation, plan.first_seed + VALIDATION_TEXTS),
    )
    for split, count, first in splits:
        measured = plan.measured and plan.score == "describe"
        told = [measured_tiles(shown.stores[split]) if measured else None for shown in scales]
        for i in range(count):
            name = f"{split}-{i:06d}"
            if plan.tiles is None:
                example = text_example(first + i, plan.mix, reword=plan.reword, narrow=plan.narrow)
                yield from_phantom(example, name, split=split)
            else:
                scale, turn = i % len(scales), i // len(scales)
                shown, known = scales[scale], told[scale]
                store = shown.stores[split]
                tile, rng = turn % len(store), Random(f"tile-{first + i}")
                if plan.score == "verify":
                    example = verify_tile(tile, store, rng, reword=plan.reword)
                else:
                    example = describe_tile(
                        tile,
                        store,
                        rng,
                        seen=known[_told_of(plan, scale, tile, len(store), first + i)] if known else None,
                        field_um=shown.field_um(plan),
                    )
                part = split if shown.mpp == plan.tuning.mpp else f"{split}-closer"
                yield from_phantom(example, name, split=split, image=_picture(example, store, folder / part))


def _told_of(plan: AdapterRecipe, scale: int, tile: int, tiles: int, seed: int) -> int:
    """The tile whose measurements are told with a tile: its own, and in a share `mistold` another's.

    A model that may always believe them stops to look. Only at the base's own scale: the finer one it sees
    too badly to contradict.
    """
    rng = Random(f"told-{seed}")
    return rng.randrange(tiles) if scale == 0 and rng.random() < plan.mistold else tile


def _picture(example: Example, store: TileStore, folder: Path) -> Path:
    """The file of the example's tile, written when first shown."""
    from PIL import Image

    tile = example.tile or 0
    path = folder / f"{tile:06d}.png"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".tmp")
        Image.fromarray(store.image(tile)).save(part, format="PNG")
        part.replace(path)
    return path


def _score(plan: AdapterRecipe, scales: Sequence[_Shown], card: ModelCard, out: Path) -> None:
    """Base and adapter on what neither has seen; the card says both."""
    from pathagent_tools.vlm.inprocess import TransformersVLM
    from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS

    def scored(adapters: Mapping[Role, Path]) -> dict[str, Any]:
        vlm = TransformersVLM(EMBEDDED_WEIGHTS, adapters=adapters, tile_mpp=plan.tuning.mpp)
        if plan.score in tables:
            return tables[plan.score](vlm, plan.scored)
        first, *closer = (on_tiles(vlm, shown) for shown in scales)
        return {**first, **({"closer": closer[0]} if closer else {})}

    def on_tiles(vlm: VisionLanguageModel, shown: _Shown) -> dict[str, Any]:
        store = shown.stores["test"]
        if plan.score == "verify":
            return verify_table(vlm, store, plan.scored)
        told = measured_tiles(store) if plan.measured else None
        return describe_table(vlm, store, mpp=shown.mpp, measured=told)

    tables: dict[str, Callable[[VisionLanguageModel, int], dict[str, Any]]] = {
        "answer": answer_table,
        "diagnose": diagnose_table,
        "write": write_table,
    }
    log.info("scoring the base, then the adapter")
    scores = {"before": scored({}), "after": scored(dict.fromkeys(plan.roles, out))}
    completed(card, plan, scores).save(out)


def completed(card: ModelCard, plan: AdapterRecipe, scores: Mapping[str, Any]) -> ModelCard:
    """The card of the tuning with the scores, the corpus and the limits of an adapter that knows phantoms."""
    from pathagent_tools.phantom import PHANTOM_VERSION

    corpus: dict[str, Any] = plan.model_dump(mode="json", exclude={"tuning"})
    corpus["phantom_version"] = PHANTOM_VERSION
    trained: dict[str, Any] = {**card.trained_on, "corpus": corpus, "real_tissue": "none"}
    return card.model_copy(
        update={
            "scores": {**card.scores, **scores},
            "trained_on": trained,
            "tile_px": plan.tile_px,
            "reproduce": f"pathagent finetune adapter --recipe adapter-{plan.score} --out DIR",
            "not_for": "Real tissue: it knows rendered phantoms only. Never for diagnosis or patient care.",
        }
    )
