"""Published encoders as data: canonical names, aliases, licences and the tiles that each was trained on."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field

from pathagent_tools.core.geometry import Frozen
from pathagent_tools.encoders.spec import EncoderSpec, Fit, Pooling

Loader = Literal["timm", "transformers", "open_clip"]


class Norm(Frozen):
    """(x - mean) / std of pixels in 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Entry(Frozen):
    """One published encoder. `mpp` None: its authors do not say; `norm` None: its weights' config says.

    `why`: the reason why it cannot be run here, where `loads_with` is None.
    """

    repo: str | None = None
    aliases: tuple[str, ...] = ()
    revision: str | None = None
    licence: str
    gated: bool = False
    dim: int
    tile_px: int
    mpp: float | None = 0.5
    input_px: int
    fit: Fit = "resize"
    norm: str | None = None
    pooling: Pooling = "pooled"
    text: bool = False
    loads_with: Loader | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    why: str = ""


class Catalogue(Frozen):
    """All of them."""

    norms: dict[str, Norm]
    encoders: dict[str, Entry]


@cache
def catalogue() -> Catalogue:
    """The entries of `catalogue.yaml`. ValueError where two share a name."""
    import yaml

    text = (files("pathagent_tools.encoders") / "catalogue.yaml").read_text(encoding="utf-8")
    found = Catalogue.model_validate(yaml.safe_load(text))
    names = [name.lower() for key, entry in found.encoders.items() for name in (key, *entry.aliases)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two encoders are called {', '.join(sorted(twice))}")
    return found


def canonical(name: str) -> str | None:
    """TRIDENT's name of an encoder by any of its names; None where none is known by it."""
    for key, entry in catalogue().encoders.items():
        if name.lower() in {key, *(alias.lower() for alias in entry.aliases)}:
            return key
    return None


def spec_of(key: str, *, source: str, revision: str, mpp: float, norm: Norm) -> EncoderSpec:
    """The entry as the spec of one revision of its weights."""
    entry = catalogue().encoders[key]
    return EncoderSpec(
        id=key, source=source, revision=revision, licence=entry.licence, gated=entry.gated, dim=entry.dim,
        tile_px=entry.tile_px, mpp=mpp, mean=norm.mean, std=norm.std, input_px=entry.input_px,
        fit=entry.fit, pooling=entry.pooling, text=entry.text,
    )  # fmt: skip
