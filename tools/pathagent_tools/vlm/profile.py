"""Profiles: which models stand behind the tools. Same graph, prompts and schemas for all of them."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import VisionLanguageModel

EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded"


class VLMSpec(Frozen):
    """The VLM of a profile: how it is reached and the tile that it expects."""

    backend: Literal["embedded", "transformers", "openai"]
    model: str | None = Field(default=None, description="repository, folder, or name on the server")
    revision: str | None = None
    url: str | None = Field(default=None, description="OpenAI-compatible base URL, ending in /v1")
    api_key_env: str = Field(default="PATHAGENT_VLM_API_KEY", description="variable that holds the key")
    tile_px: int = 192
    tile_mpp: float = 1.0
    licence: str = "unknown"
    gated: bool = False
    timeout_s: float = 120.0


class Profile(Frozen):
    """A set of models. `domain` phantom: trained on phantoms alone, so real tissue is outside it."""

    name: str
    encoder: str
    vlm: VLMSpec
    domain: Literal["phantom", "open"]


def profile_names() -> list[str]:
    """Profiles that ship with the package."""
    folder = files("pathagent_tools.vlm").joinpath("profiles")
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name, or one from a YAML file. UserError on an unknown name or a bad file."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"There is no profile file {name}. Shipped profiles: {_listed()}.")
        text = path.read_text(encoding="utf-8")
    elif name in profile_names():
        shipped = files("pathagent_tools.vlm").joinpath("profiles", f"{name}.yaml")
        text = shipped.read_text(encoding="utf-8")
    else:
        close = difflib.get_close_matches(name, profile_names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(f"Unknown profile {name!r}.{hint} Shipped: {_listed()}; or give a .yaml file.")
    try:
        return Profile.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"The profile {name} is not valid: {str(error).splitlines()[0]}") from None


def _listed() -> str:
    return ", ".join(profile_names())


def open_vlm(
    profile: Profile, *, vlm_url: str | None = None, vlm_model: str | None = None
) -> VisionLanguageModel:
    """The profile's VLM; a URL sends every request to that OpenAI-compatible server instead.

    Raises UserError (missing weights, missing URL, unknown model), ModelUnavailableError (no server).
    """
    spec = profile.vlm
    if vlm_url or spec.backend == "openai":
        from pathagent_tools.vlm.openai import OpenAIVLM

        url = vlm_url or spec.url
        if url is None:
            raise UserError(
                f"The profile {profile.name} needs a server: add --vlm-url http://127.0.0.1:8000/v1 "
                "and --vlm-model NAME."
            )
        return OpenAIVLM(
            url,
            model=vlm_model or spec.model,
            api_key_env=spec.api_key_env,
            tile_px=spec.tile_px,
            tile_mpp=spec.tile_mpp,
            timeout_s=spec.timeout_s,
        )
    from pathagent_tools.vlm.inprocess import TransformersVLM

    if spec.backend == "embedded":
        if not (EMBEDDED_WEIGHTS / "model.safetensors").is_file():
            raise UserError(
                "The embedded VLM has no weights here. Train it with "
                "`pathagent finetune vlm -o DIR`, or name a server with --vlm-url."
            )
        return TransformersVLM(
            EMBEDDED_WEIGHTS, tile_px=spec.tile_px, tile_mpp=spec.tile_mpp, id="embedded-vlm"
        )
    if spec.model is None:
        raise UserError(f"The profile {profile.name} names no model: set vlm.model in its file.")
    return TransformersVLM(
        vlm_model or spec.model, revision=spec.revision, tile_px=spec.tile_px, tile_mpp=spec.tile_mpp
    )
