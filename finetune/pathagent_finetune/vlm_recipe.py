"""The recipe of the embedded VLM: which tiles, which sizes, how long each stage trains."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pydantic import Field, ValidationError

from pathagent_finetune.architecture import VLMSize
from pathagent_finetune.loop import Budget
from pathagent_finetune.tilestore import TileSets
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen


class JointStage(Frozen):
    """One stage on tiles and texts together; examples count by role here."""

    budget: Budget
    tiles: int = Field(gt=0, description="examples with an image per step")
    texts: int = Field(gt=0, description="examples without an image per step")
    mix: dict[str, float] = Field(description="shares of the kinds of texts, see `mix.MIX`")


class VLMRecipe(Frozen):
    """Everything that decides the weights, but the code."""

    id: str
    version: str
    seed: int
    mpp: float = Field(gt=0)
    tiles: TileSets
    size: VLMSize
    vision: Budget
    vision_batch: int = Field(gt=0)
    language: Budget
    language_texts: int = Field(gt=0, description="text examples per step of the language stage")
    language_mix: dict[str, float] = Field(description="shares of the kinds of texts, see `mix.MIX`")
    joint: tuple[JointStage, ...] = Field(min_length=1, description="one after the other")
    views: int = Field(gt=0, description="turned and recoloured copies of each tile in the joint stage")
    colour: float = Field(ge=0, description="see vision_batch.augment")
    tokenizer_texts: int = Field(gt=0)
    evaluate_tiles: int = Field(gt=0)
    bf16: bool = Field(description="train the tower in bfloat16: only where the machine computes in it")
    threads: int = Field(gt=0)


def recipe_text(recipe: str | Path) -> str:
    """The text of a recipe file, or of one that ships with the package by name. UserError when unknown."""
    path = Path(recipe)
    if path.is_file():
        return path.read_text(encoding="utf-8")
    folder = files("pathagent_finetune") / "recipes"
    shipped = folder / f"{recipe}.yaml"
    if not shipped.is_file():
        names = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))
        raise UserError(f"No recipe {str(recipe)!r}: give a YAML file or one of {', '.join(names)}.")
    return shipped.read_text(encoding="utf-8")


def load_recipe(recipe: str | Path) -> VLMRecipe:
    """A recipe file, or one that ships with the package by name (`vlm`). UserError names the fault."""
    import yaml

    try:
        return VLMRecipe.model_validate(yaml.safe_load(recipe_text(recipe)))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"Recipe {recipe} cannot be used: {error}") from None
