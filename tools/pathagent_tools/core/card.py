"""Model cards: one schema for every set of weights that ships or that a user trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file, write_text_atomic
from pathagent_tools.core.geometry import Frozen

CARD_NAME = "card.json"


class ModelCard(Frozen):
    """What a model is, where it came from, how good it is and what it must not be used for."""

    id: str
    version: str
    kind: Literal["encoder", "vlm", "vlm-adapter", "generator", "slide-head", "detector"]
    files: dict[str, str] = Field(description="file name → sha256")
    trained_on: dict[str, Any] = Field(description="recipe, data digests, phantom_version, stages")
    licence_weights: str
    licence_data: str
    tile_px: int
    tile_mpp: float
    scores: dict[str, Any] = Field(description="with controls (blank image, majority) and 95 % intervals")
    reproduce: str = Field(description="the command that trains and scores it again")
    not_for: str

    @property
    def digest(self) -> str:
        """Identity of the weights: sha256 over the file digests. Used as the model revision."""
        return sha256_bytes(canonical_json(self.files).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `folder/card.json`. UserError when it is absent."""
        path = folder / CARD_NAME
        if not path.is_file():
            raise UserError(f"{folder} has no {CARD_NAME}: not a model folder of this project.")
        return cls.model_validate_json(path.read_text())

    def save(self, folder: Path) -> None:
        """Write `folder/card.json` atomically."""
        write_text_atomic(folder / CARD_NAME, self.model_dump_json(indent=2) + "\n")


def hash_files(folder: Path) -> dict[str, str]:
    """Digest of every file of a model folder but the card and hidden files."""
    return {
        str(p.relative_to(folder)): sha256_file(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != CARD_NAME and not p.name.startswith(".")
    }
