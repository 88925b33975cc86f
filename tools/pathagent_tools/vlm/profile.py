"""Profiles: which models stand behind the tools. Same graph, prompts and schemas for all of them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Role, VisionLanguageModel
from pathagent_tools.vlm.adapters import adapter_names

EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded"
PROFILES = Path(__file__).parent / "profiles"
EMBEDDED_ID = "embedded-vlm"
SERVED_AT = "http://127.0.0.1:8000/v1"
"""Where `pathagent serve vlm` listens unless told otherwise."""


class VLMSpec(Frozen):
    """The VLM of a profile: how it is reached, the tile that it expects, and what serving it takes.

    `backend`: embedded and transformers run in this process, vllm is what `pathagent serve vlm` serves,
    openai is anybody's server. The last five fields are limits and needs of serving; `disk_gb` and
    `gpu_gb` are what `doctor` compares with the machine.
    """

    backend: Literal["embedded", "transformers", "vllm", "openai"]
    model: str | None = Field(default=None, description="repository, folder, or name on the server")
    revision: str | None = Field(default=None, description="pinned commit of a repository")
    adapters: dict[Role, Path] = Field(default_factory=dict, description="role → folder of its LoRA")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="default: float32 on a CPU, bfloat16 on a GPU"
    )
    url: str | None = Field(default=None, description="OpenAI-compatible base URL, ending in /v1")
    api_key_env: str = Field(default="PATHAGENT_VLM_API_KEY", description="variable that holds the key")
    tile_px: int = 192
    tile_mpp: float = 1.0
    closer_mpp: float | None = Field(
        default=None,
        gt=0,
        description="finer µm per px that it reads too: part of a look is taken again at it",
    )
    licence: str = "unknown"
    gated: bool = False
    timeout_s: float = 120.0
    max_context: int = Field(default=8192, description="tokens of prompt and answer")
    max_images: int = Field(default=4, description="images of one request")
    disk_gb: float = Field(default=0.1, description="size of the weights")
    gpu_gb: float = Field(default=2.0, description="GPU memory that serving takes, cache included")

    @model_validator(mode="after")
    def _closer_is_finer(self) -> VLMSpec:
        if self.closer_mpp is not None and self.closer_mpp >= self.tile_mpp:
            raise ValueError(
                f"closer_mpp {self.closer_mpp:g} must be finer than tile_mpp {self.tile_mpp:g}: "
                f"give {self.tile_mpp / 2:g}, or leave it out"
            )
        return self


class Profile(Frozen):
    """A set of models. `domain` phantom: trained on phantoms alone, so real tissue is outside it."""

    name: str
    encoder: str
    vlm: VLMSpec
    domain: Literal["phantom", "open"]
    mitoses: Path | Literal["embedded"] | None = Field(
        default=None, description="what counts mitotic figures: a folder, or the detector that ships"
    )
    lymphocytes: Path | Literal["embedded"] | None = Field(
        default=None, description="what counts lymphocytes: a folder, or the counter that ships"
    )


def profile_names() -> list[str]:
    """Profiles that ship with the package."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name, or one from a YAML file; its folders are relative to that file.

    UserError on an unknown name or a bad file.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"There is no profile file {name}. Shipped profiles: {_listed()}.")
    elif name in profile_names():
        path = PROFILES / f"{name}.yaml"
    else:
        close = difflib.get_close_matches(name, profile_names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(f"Unknown profile {name!r}.{hint} Shipped: {_listed()}; or give a .yaml file.")
    try:
        found = Profile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"The profile {name} is not valid: {place}: {first['msg']}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"The profile {name} is not valid: {str(error).splitlines()[0]}") from None
    update: dict[str, object] = {"vlm": _anchored(found.vlm, path.parent)}
    for name, folder in (("mitoses", found.mitoses), ("lymphocytes", found.lymphocytes)):
        if isinstance(folder, Path):
            update[name] = (path.parent / folder.expanduser()).resolve()
    return found.model_copy(update=update)


def _anchored(spec: VLMSpec, folder: Path) -> VLMSpec:
    """Adapter folders, and a model that is written as a path, made absolute from the profile's folder."""
    model = spec.model
    if model is not None and model.startswith((".", "~")):
        model = str((folder / Path(model).expanduser()).resolve())
    adapters = {role: (folder / adapter).resolve() for role, adapter in spec.adapters.items()}
    return spec.model_copy(update={"model": model, "adapters": adapters})


def served_name(spec: VLMSpec) -> str | None:
    """The name under which a server offers the base: the repository, or the name of the folder."""
    if spec.backend == "embedded":
        return EMBEDDED_ID
    return Path(spec.model).name if spec.model and Path(spec.model).is_dir() else spec.model


def _listed() -> str:
    return ", ".join(profile_names())


def open_vlm(
    profile: Profile, *, vlm_url: str | None = None, vlm_model: str | None = None
) -> VisionLanguageModel:
    """The profile's VLM; a URL sends every request to that OpenAI-compatible server instead.

    Raises UserError (missing weights, missing URL, unknown model), ModelUnavailableError (no server).
    """
    spec = profile.vlm
    if vlm_url or spec.backend in ("vllm", "openai"):
        any_name = spec.backend == "embedded"
        return _served(profile, vlm_url or spec.url, vlm_model or (None if any_name else served_name(spec)))
    from pathagent_tools.vlm.inprocess import TransformersVLM

    model, id = vlm_model or spec.model, None
    if spec.backend == "embedded":
        if not (EMBEDDED_WEIGHTS / "model.safetensors").is_file():
            raise UserError(
                "The embedded VLM has no weights here. Train it with "
                "`pathagent finetune vlm -o DIR`, or name a server with --vlm-url."
            )
        model, id = str(EMBEDDED_WEIGHTS), EMBEDDED_ID
    if model is None:
        raise UserError(f"The profile {profile.name} names no model: set vlm.model in its file.")
    return TransformersVLM(
        model,
        revision=spec.revision,
        dtype=spec.dtype,
        adapters=spec.adapters,
        tile_px=spec.tile_px,
        tile_mpp=spec.tile_mpp,
        id=id,
    )


def _served(profile: Profile, url: str | None, model: str | None) -> VisionLanguageModel:
    from pathagent_tools.vlm.openai import OpenAIVLM

    spec = profile.vlm
    if url is None and spec.backend == "openai":
        raise UserError(
            f"The profile {profile.name} needs a server: add --vlm-url {SERVED_AT} and --vlm-model NAME."
        )
    return OpenAIVLM(
        url or SERVED_AT,
        model=model,
        adapters=adapter_names(spec.adapters),
        api_key_env=spec.api_key_env,
        tile_px=spec.tile_px,
        tile_mpp=spec.tile_mpp,
        timeout_s=spec.timeout_s,
    )
