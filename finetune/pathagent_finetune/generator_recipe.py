"""The recipe of the embedded generator: which fields, which network, how long it trains."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from pathagent_finetune.loop import Budget
from pathagent_finetune.tilestore import TileSet, TileSets
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.generators.network import Shape

R = TypeVar("R", bound=Frozen)


class FieldSets(TileSets):
    """`layouts`: fields never trained on, of which the library of layouts is made."""

    layouts: TileSet


class GeneratorRecipe(Frozen):
    """Everything that decides the weights, but the code. `stages` follow each other, each resumable."""

    id: str
    version: str
    seed: int
    px: int = Field(gt=0, multiple_of=16)
    fields: FieldSets
    shape: Shape
    batch: int = Field(gt=0)
    stages: tuple[Budget, ...] = Field(min_length=1)
    ema: float = Field(gt=0, lt=1)
    threads: int = Field(gt=0)


def load_recipe(recipe: str | Path) -> GeneratorRecipe:
    """A recipe of the embedded generator, as `recipe_of`."""
    return recipe_of(GeneratorRecipe, recipe)


def recipe_of(kind: type[R], recipe: str | Path) -> R:
    """A recipe file, or one that ships with the package by name (`generator`). UserError names the fault."""
    import yaml

    path = Path(recipe)
    shipped = files("pathagent_finetune") / "recipes" / f"{recipe}.yaml"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif shipped.is_file():
        text = shipped.read_text(encoding="utf-8")
    else:
        raise UserError(f"No recipe {str(recipe)!r}: give a YAML file or `generator`.")
    try:
        return kind.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"Recipe {recipe} cannot be used: {error}") from None
