"""The recipe of a LoRA adapter: which base, what is tuned, for how long. Data is not part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from pathagent_finetune.vlm_recipe import recipe_text
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen

Auto = Literal["auto"]


class LoraRecipe(Frozen):
    """Everything that decides the adapter, but the code and the data."""

    id: str
    version: str
    seed: int = 0
    base: str = Field(description="`embedded`, a folder, or a hub repository")
    revision: str | None = Field(default=None, description="pinned commit of a hub repository")
    role: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="name of the adapter")
    rank: int = Field(default=16, ge=1, le=512)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Auto | tuple[str, ...] = Field(default="auto", description="or leaf names, as `q_proj`")
    quantize: Literal["none", "4bit"] = "none"
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    lr: float = Field(gt=0)
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of the steps")
    batch: int = Field(ge=1, description="examples per device and forward pass")
    accumulate: int = Field(default=1, ge=1, description="batches per step")
    max_length: int = Field(ge=16, description="tokens of prompt, images and completion")
    gradient_checkpointing: Auto | bool = "auto"
    bf16: Auto | bool = "auto"
    evaluate_steps: int = Field(ge=1)
    validation: float = Field(default=0.1, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    answers: int = Field(default=0, ge=0, description="held-out examples that base and adapter answer")
    mpp: float = Field(gt=0, description="µm per pixel of tiles whose row names none")
    skip_bad: bool = False
    licence_data: str = "unknown"

    @model_validator(mode="after")
    def _bounded(self) -> LoraRecipe:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        return self


def load_lora_recipe(recipe: str | Path) -> LoraRecipe:
    """A recipe file, or one that ships with the package by name (`lora`). UserError names the fault."""
    import yaml

    try:
        return LoraRecipe.model_validate(yaml.safe_load(recipe_text(recipe)))
    except yaml.YAMLError as error:
        raise UserError(f"Recipe {recipe} is not YAML: {str(error).splitlines()[0]}.") from None
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc'][:1]))} {e['msg']}".strip() for e in error.errors())
        raise UserError(f"Recipe {recipe} cannot be used: {'; '.join(faults)}.") from None
