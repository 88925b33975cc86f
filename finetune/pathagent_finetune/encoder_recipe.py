"""The recipe of the embedded encoder: what is rendered, which sizes, how long it trains."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pathagent_finetune.encoder_model import ModelShape
from pathagent_finetune.loop import Budget
from pathagent_finetune.tilestore import TileSets
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen


class EncoderRecipe(Frozen):
    """Everything that decides the weights, but the code. `threads` also: sums depend on their order."""

    id: str
    version: str
    seed: int
    tile_px: int = Field(gt=0)
    mpp: float = Field(gt=0)
    tiles: TileSets
    shape: ModelShape
    batch: int = Field(gt=1)
    budget: Budget
    helper_weights: dict[Literal["slots", "numbers", "cells"], float]
    threads: int = Field(gt=0)


def load_recipe(recipe: str | Path) -> EncoderRecipe:
    """A recipe file, or one that ships with the package by name (`encoder`). UserError names the fault."""
    import yaml

    path = Path(recipe)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        folder = files("pathagent_finetune") / "recipes"
        shipped = folder / f"{recipe}.yaml"
        if not shipped.is_file():
            names = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))
            raise UserError(f"No recipe {str(recipe)!r}: give a YAML file or one of {', '.join(names)}.")
        text = shipped.read_text(encoding="utf-8")
    try:
        return EncoderRecipe.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"Recipe {recipe} cannot be used: {error}") from None
