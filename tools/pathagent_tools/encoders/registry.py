"""Encoders by name: `embedded`, published ones, `local-dir:/path`, `hf-hub:org/repo[@commit]`, plug-ins."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from pathagent_tools.core.card import CARD_NAME
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.catalogue import canonical, catalogue
from pathagent_tools.encoders.clip import OpenClipEncoder
from pathagent_tools.encoders.model_folder import (
    CONFIG,
    IMAGE_CONFIG,
    IMAGE_WEIGHTS,
    WEIGHTS,
    format_of,
    spec_of_folder,
)
from pathagent_tools.encoders.runtimes import Runtime
from pathagent_tools.encoders.spec import EncoderSpec

GROUP: Final = "pathagent.encoders"
"""Entry-point group: each entry is a callable without arguments that returns a `SlideEncoder`."""

EMBEDDED_FOLDER: Final = Path(__file__).parent / "embedded"
_LOCAL, _HUB = "local-dir:", "hf-hub:"
_CLIP_FILES: Final = (
    WEIGHTS, CONFIG, "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json"
)  # fmt: skip


@dataclass(frozen=True)
class Located:
    """Weights in a folder. `key`: their entry in the catalogue, None where they are not of one."""

    folder: Path
    source: str
    revision: str | None = None
    key: str | None = None


def encoder_names() -> list[str]:
    """Names that `load_encoder` knows without a prefix and that can be run here."""
    runnable = (key for key, entry in catalogue().encoders.items() if entry.loads_with)
    return sorted({"embedded", *runnable, *(e.name for e in entry_points(group=GROUP))})


def load_encoder(
    name: str,
    *,
    mpp: float | None = None,
    licence: str = "not stated",
    device: str = "cpu",
    weights: Path | None = None,
    runtime: Runtime = "folded",
) -> SlideEncoder:
    """The encoder of that name.

    mpp: µm/px of its tiles, needed where no model card beside the weights and no entry of the catalogue
    says it. licence: recorded for models without a card. weights: a folder that holds a published encoder's
    files already. runtime: how an open_clip image tower runs on a CPU. Names of the catalogue and `hf-hub:`
    download safetensors and configuration of one revision (`@commit`, else the newest, whose commit becomes
    the revision); pickled weights are never loaded, and no code of a repository is run.
    UserError: unknown name (with a suggestion), missing or pickled weights, unknown mpp.
    """
    for entry in entry_points(group=GROUP, name=name):
        encoder: SlideEncoder = entry.load()()
        return encoder
    at = _locate(name, weights)
    spec = _spec(at, mpp=mpp, licence=licence)
    return _load(at, spec, device, runtime)


def describe_encoder(
    name: str, *, mpp: float | None = None, licence: str = "not stated", weights: Path | None = None
) -> EncoderSpec | None:
    """The spec of an encoder without loading it; None for plug-ins, which only say when loaded.

    Arguments and errors as for `load_encoder`.
    """
    if entry_points(group=GROUP, name=name):
        return None
    return _spec(_locate(name, weights), mpp=mpp, licence=licence)


def encoder_folder(name: str) -> Path | None:
    """The folder of an encoder whose name says where it lies; None for the hub's and for plug-ins."""
    if name == "embedded":
        return EMBEDDED_FOLDER
    return Path(name.removeprefix(_LOCAL)).expanduser() if name.startswith(_LOCAL) else None


def _locate(name: str, weights: Path | None) -> Located:
    base, _, revision = name.partition("@")
    if name == "embedded":
        if not (EMBEDDED_FOLDER / WEIGHTS).is_file():
            raise UserError(
                f"The embedded encoder has no weights in {EMBEDDED_FOLDER}. "
                "Train it: pathagent finetune encoder --recipe encoder --out runs/encoder"
            )
        return Located(EMBEDDED_FOLDER, "embedded")
    if name.startswith(_LOCAL):
        return Located(Path(name.removeprefix(_LOCAL)).expanduser(), name)
    if name.startswith(_HUB):
        folder, commit = _download(name.removeprefix(_HUB), [*_CLIP_FILES, IMAGE_WEIGHTS, IMAGE_CONFIG])
        return Located(folder, base, commit)
    key = canonical(base)
    if key is None:
        raise UserError(_unknown(name))
    return _published(key, revision, weights)


def _published(key: str, revision: str, weights: Path | None) -> Located:
    """An entry of the catalogue: from a folder of the user's, else from the hub."""
    entry = catalogue().encoders[key]
    if entry.loads_with is None:
        raise UserError(
            f"{key} cannot be run here: {entry.why}. Make its features with TRIDENT and take them over: "
            f"pathagent encode SLIDES --encoder {key} --import TRIDENT_FOLDER -o FOLDER"
        )
    source = f"{_HUB}{entry.repo}"
    if weights is not None:
        return Located(weights.expanduser(), source, key=key)
    files = _CLIP_FILES if entry.loads_with == "open_clip" else (IMAGE_WEIGHTS, IMAGE_CONFIG)
    wanted = revision or entry.revision or ""
    folder, commit = _download(f"{entry.repo}@{wanted}", [*files])
    return Located(folder, source, commit, key)


def _spec(at: Located, *, mpp: float | None, licence: str) -> EncoderSpec:
    return spec_of_folder(
        at.folder, source=at.source, mpp=mpp, licence=licence, revision=at.revision, key=at.key
    )


def _unknown(name: str) -> str:
    known = [*catalogue().encoders, *encoder_names()]
    aliases = [alias for entry in catalogue().encoders.values() for alias in entry.aliases]
    close = difflib.get_close_matches(name, [*known, *aliases], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if Path(name).is_dir():
        hint = f" Did you mean '{_LOCAL}{name}'?"
    elif "/" in name:
        hint = f" Did you mean '{_HUB}{name}'?"
    listed = ", ".join([*encoder_names(), f"{_LOCAL}/path", f"{_HUB}org/repo"])
    return f"Unknown encoder {name!r}.{hint} Known: {listed}."


def _load(at: Located, spec: EncoderSpec, device: str, runtime: Runtime) -> SlideEncoder:
    kind = format_of(at.folder, at.source)
    if kind == "open_clip":
        model, tokenizer = _open_clip(at)
        return OpenClipEncoder(model, tokenizer, spec, device=device, folder=at.folder, runtime=runtime)
    from pathagent_tools.encoders.image_only import ImageEncoder, timm_forward, transformers_forward

    arguments = catalogue().encoders[at.key].arguments if at.key else {}
    try:
        if kind == "timm":
            forward = timm_forward(at.folder, arguments, spec.pooling, device)
        else:
            forward = transformers_forward(at.folder, spec.pooling, device)
    except (ValueError, RuntimeError, KeyError, OSError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"{at.source} is no {kind} model that can be loaded: {said}") from error
    return ImageEncoder(forward, spec, device=device)


def _open_clip(at: Located) -> tuple[Any, Any]:
    import open_clip

    try:
        # weights only from the safetensors file that was checked for before: open_clip would go on without
        model = open_clip.create_model(f"{_LOCAL}{at.folder}")
        tokenizer = open_clip.get_tokenizer(f"{_LOCAL}{at.folder}")
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise UserError(f"{at.source} is no open_clip model that can be loaded: {error}") from error
    return model.eval(), tokenizer


def _download(repo: str, wanted: list[str]) -> tuple[Path, str]:
    """Fetch (or find in the cache) one revision of a hub repository → (folder, commit)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = repo.partition("@")
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=[*wanted, CARD_NAME]))
    except GatedRepoError as error:
        raise UserError(
            f"{_HUB}{name} is gated: accept its licence on its hub page, then run `hf auth login`."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"{_HUB}{name} could not be fetched ({type(error).__name__}). Check the name and the network, or "
            f"download it elsewhere and use {_LOCAL}/path."
        ) from error
    return folder, folder.name
