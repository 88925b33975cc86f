"""Encoders by name: `embedded`, `local-dir:/path`, `hf-hub:org/repo[@revision]`, entry points."""

from __future__ import annotations

import difflib
import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from pathagent_tools.core.card import CARD_NAME, ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.clip import OpenClipEncoder
from pathagent_tools.encoders.spec import EncoderSpec

GROUP: Final = "pathagent.encoders"
"""Entry-point group: each entry is a callable without arguments that returns a `SlideEncoder`."""

EMBEDDED_FOLDER: Final = Path(__file__).parent / "embedded"
WEIGHTS: Final = "open_clip_model.safetensors"
CONFIG: Final = "open_clip_config.json"
_LOCAL, _HUB = "local-dir:", "hf-hub:"


def encoder_names() -> list[str]:
    """Names that `load_encoder` knows without a prefix."""
    return sorted({"embedded", *(e.name for e in entry_points(group=GROUP))})


def load_encoder(
    name: str, *, mpp: float | None = None, licence: str = "not stated", device: str = "cpu"
) -> SlideEncoder:
    """The encoder of that name.

    mpp: µm/px of its tiles, needed where no model card beside the weights says it. licence: recorded for
    models without a card. `hf-hub:` downloads safetensors, configuration and tokenizer of one revision
    (`@commit`, else the newest, whose commit becomes the revision); pickled weights are never loaded.
    UserError: unknown name (with a suggestion), missing or pickled weights, unknown mpp.
    """
    if name == "embedded":
        if not (EMBEDDED_FOLDER / WEIGHTS).is_file():
            raise UserError(
                f"The embedded encoder has no weights in {EMBEDDED_FOLDER}. "
                "Train it: pathagent finetune encoder --recipe encoder --out runs/encoder"
            )
        return _from_folder(EMBEDDED_FOLDER, source="embedded", mpp=mpp, licence=licence, device=device)
    if name.startswith(_LOCAL):
        folder = Path(name.removeprefix(_LOCAL)).expanduser()
        return _from_folder(folder, source=name, mpp=mpp, licence=licence, device=device)
    if name.startswith(_HUB):
        folder, commit = _download(name.removeprefix(_HUB))
        source = f"{_HUB}{name.removeprefix(_HUB).partition('@')[0]}"
        return _from_folder(folder, source=source, mpp=mpp, licence=licence, device=device, revision=commit)
    for entry in entry_points(group=GROUP, name=name):
        encoder: SlideEncoder = entry.load()()
        return encoder
    raise UserError(_unknown(name))


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, encoder_names(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if Path(name).is_dir():
        hint = f" Did you mean '{_LOCAL}{name}'?"
    elif "/" in name:
        hint = f" Did you mean '{_HUB}{name}'?"
    known = ", ".join([*encoder_names(), f"{_LOCAL}/path", f"{_HUB}org/repo"])
    return f"Unknown encoder {name!r}.{hint} Known: {known}."


def _from_folder(
    folder: Path, *, source: str, mpp: float | None, licence: str, device: str, revision: str | None = None
) -> OpenClipEncoder:
    _require_files(folder, source)
    card = ModelCard.load(folder) if (folder / CARD_NAME).is_file() else None
    if card is not None:
        _check_against_card(folder, card)
        mpp, licence = card.tile_mpp, card.licence_weights
    if mpp is None:
        raise UserError(
            f"{source} does not say at which resolution its tiles were: give it, e.g. "
            f"load_encoder({source!r}, mpp=0.5), or put a {CARD_NAME} beside the weights."
        )
    model, tokenizer, config = _open(folder, source)
    pre = config.get("preprocess_cfg", {})
    side = model.visual.image_size
    spec = EncoderSpec(
        id=card.id if card else source.removeprefix(_HUB).removeprefix(_LOCAL).rstrip("/").split("/")[-1],
        source=source,
        revision=(card.digest if card else revision) or _digest(folder),
        licence=licence,
        dim=config["model_cfg"]["embed_dim"],
        tile_px=side[0] if isinstance(side, tuple | list) else side,
        mpp=mpp,
        mean=tuple(pre.get("mean", model.visual.image_mean)),
        std=tuple(pre.get("std", model.visual.image_std)),
    )
    return OpenClipEncoder(model, tokenizer, spec, device=device, folder=folder)


def _open(folder: Path, source: str) -> tuple[Any, Any, dict[str, Any]]:
    import open_clip

    try:
        config = json.loads((folder / CONFIG).read_text())
        # weights only from the safetensors file that was checked for above: open_clip would go on without
        model = open_clip.create_model(f"{_LOCAL}{folder}")
        tokenizer = open_clip.get_tokenizer(f"{_LOCAL}{folder}")
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise UserError(f"{source} is no open_clip model that can be loaded: {error}") from error
    return model.eval(), tokenizer, config


def _require_files(folder: Path, source: str) -> None:
    if not folder.is_dir():
        raise UserError(
            f"No folder {folder}: give {_LOCAL}/path/to/folder that holds {CONFIG} and {WEIGHTS}."
        )
    if not (folder / CONFIG).is_file():
        raise UserError(f"{source} has no {CONFIG}: not an open_clip model folder.")
    if (folder / WEIGHTS).is_file():
        return
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    if pickled:
        raise UserError(
            f"{source} has only pickled weights ({', '.join(pickled)}), which are not loaded. Save them as "
            f"{WEIGHTS}: safetensors.torch.save_file("
            f"torch.load({pickled[0]!r}, weights_only=True), {WEIGHTS!r})"
        )
    raise UserError(
        f"{source} has no {WEIGHTS}. Train an encoder with: pathagent finetune encoder --out runs/encoder"
    )


def _check_against_card(folder: Path, card: ModelCard) -> None:
    for name, digest in card.files.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != digest:
            raise UserError(
                f"{path} is not the file that {CARD_NAME} describes (incomplete download or changed "
                "weights). Restore it, or train again: pathagent finetune encoder --out runs/encoder"
            )


def _digest(folder: Path) -> str:
    return sha256_bytes(canonical_json({n: sha256_file(folder / n) for n in (CONFIG, WEIGHTS)}).encode())


def _download(repo: str) -> tuple[Path, str]:
    """Fetch (or find in the cache) one revision of a hub repository → (folder, commit)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = repo.partition("@")
    wanted = [WEIGHTS, CONFIG, CARD_NAME, "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json"]
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=wanted))
    except GatedRepoError as error:
        raise UserError(
            f"{_HUB}{name} is gated: accept its licence on its hub page, then run `hf auth login`."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"{_HUB}{repo} could not be fetched ({type(error).__name__}). Check the name and the network, or "
            f"download it elsewhere and use {_LOCAL}/path."
        ) from error
    return folder, folder.name
