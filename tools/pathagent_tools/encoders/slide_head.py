"""A small head that names a whole slide from its tiles' features: mean or attention pooling, calibrated.

Trained on a few of the user's own slides by `pathagent finetune slide-head`. A folder of `head.safetensors`,
`head.json` (classes, pooling, whose features) and `card.json`. Attention is the gated one of Ilse et al. 2018
(arXiv:1802.04712). Running a head needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_file, write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.encoders.reading import unit

Floats = NDArray[np.float32]
Pooling = Literal["mean", "attention"]
WEIGHTS: Final = "head.safetensors"
SETTINGS: Final = "head.json"
SHAPES: Final[dict[Pooling, tuple[str, ...]]] = {
    "mean": ("centre", "scale", "weight", "bias"),
    "attention": ("centre", "scale", "weight", "bias", "tanh", "gate", "attention"),
}
"""Arrays of each pooling. `centre`, `scale` [D]: standardise a tile's unit vector; `weight` [C, D], `bias`
[C]; `tanh`, `gate` [H, D]; `attention` [H]."""


class HeadSettings(Frozen):
    """What a head answers and whose features it reads. `temperature` divides its logits."""

    classes: tuple[str, ...] = Field(min_length=2)
    pooling: Pooling
    encoder: str
    encoder_revision: str
    dim: int
    temperature: float = Field(default=1.0, gt=0)
    weights_sha256: str = ""


@dataclass(frozen=True)
class SlideHead:
    """The trained arrays with their settings."""

    settings: HeadSettings
    arrays: Mapping[str, Floats]

    @classmethod
    def load(cls, folder: Path, *, encoder: str | None = None, revision: str | None = None) -> Self:
        """Read a head. UserError: absent, damaged, or made for features of another encoder."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        settings = _settings(folder)
        for what, wanted, found in (
            ("encoder", encoder, settings.encoder),
            ("encoder revision", revision, settings.encoder_revision),
        ):
            if wanted is not None and wanted != found:
                raise UserError(
                    f"{folder} reads features of {what} {found}, not of {wanted}. Train it again: "
                    "pathagent finetune slide-head --slides TABLE.csv -o FOLDER"
                )
        path = folder / WEIGHTS
        if not path.is_file() or sha256_file(path) != settings.weights_sha256:
            raise UserError(f"{path} is missing or damaged. Train the head again.")
        try:
            arrays = load_file(str(path))
        except SafetensorError as error:
            raise UserError(f"{path} cannot be read: {error}. Train the head again.") from error
        return cls(settings, arrays)

    def save(self, folder: Path) -> None:
        """Write weights, then the settings that name them by digest."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{WEIGHTS}.tmp"
        save_file({n: np.ascontiguousarray(self.arrays[n]) for n in SHAPES[self.settings.pooling]}, str(part))
        part.chmod(0o644)
        part.replace(folder / WEIGHTS)
        kept = self.settings.model_copy(update={"weights_sha256": sha256_file(folder / WEIGHTS)})
        write_text_atomic(folder / SETTINGS, kept.model_dump_json(indent=2) + "\n")

    def logits(self, features: Floats) -> Floats:
        """[N, D] features of a slide's tiles → [C]. UserError: no tile, or another encoder's size."""
        tiles = self._tiles(features)
        pooled = self._weights(tiles) @ tiles
        return np.asarray(self.arrays["weight"] @ pooled + self.arrays["bias"], np.float32)

    def probabilities(self, features: Floats) -> dict[str, float]:
        """Class → calibrated probability, likeliest first."""
        scaled = self.logits(features) / self.settings.temperature
        exp = np.exp(scaled - scaled.max())
        found = zip(self.settings.classes, (exp / exp.sum()).tolist(), strict=True)
        return dict(sorted(found, key=lambda item: -item[1]))

    def weights(self, features: Floats) -> Floats:
        """[N] share of each tile in the answer; equal for mean pooling."""
        return self._weights(self._tiles(features))

    def _tiles(self, features: Floats) -> Floats:
        if features.ndim != 2 or features.shape[1] != self.settings.dim:
            raise UserError(
                f"This head reads [N, {self.settings.dim}] features of {self.settings.encoder}, "
                f"not {list(features.shape)}."
            )
        if len(features) == 0:
            raise UserError("The slide has no tile of tissue: a head has nothing to read.")
        return np.asarray((unit(features) - self.arrays["centre"]) / self.arrays["scale"], np.float32)

    def _weights(self, tiles: Floats) -> Floats:
        if self.settings.pooling == "mean":
            return np.full(len(tiles), 1 / len(tiles), np.float32)
        a = self.arrays
        gated = np.tanh(tiles @ a["tanh"].T) / (1 + np.exp(-np.clip(tiles @ a["gate"].T, -60, 60)))
        scores = gated @ a["attention"]
        exp = np.exp(scores - scores.max())
        return np.asarray(exp / exp.sum(), np.float32)


def _settings(folder: Path) -> HeadSettings:
    path = folder / SETTINGS
    if not path.is_file():
        raise UserError(
            f"{folder} is no slide head. Train one: "
            f"pathagent finetune slide-head --slides TABLE.csv -o {folder}"
        )
    try:
        return HeadSettings.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first: dict[str, Any] = dict(error.errors()[0])
        raise UserError(f"{path} cannot be read: {first['msg']}. Train the head again.") from error
