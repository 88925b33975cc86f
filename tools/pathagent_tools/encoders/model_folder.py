"""A folder of weights: what kind it is, what its files say of the encoder, and whether they are whole.

Three formats: open_clip's (`open_clip_config.json`), timm's and transformers' (`config.json`); weights are
safetensors in each. Nothing here imports a model library, so a spec is known before anything is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pathagent_tools.core.card import CARD_NAME, ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file
from pathagent_tools.encoders.catalogue import Loader, Norm, catalogue, spec_of
from pathagent_tools.encoders.spec import EncoderSpec

WEIGHTS: Final = "open_clip_model.safetensors"
CONFIG: Final = "open_clip_config.json"
IMAGE_WEIGHTS: Final = "model.safetensors"
IMAGE_CONFIG: Final = "config.json"
_HUB, _LOCAL = "hf-hub:", "local-dir:"
_CLIP_NORM: Final = "clip"
"""The normalisation that open_clip assumes where a configuration states none."""


def format_of(folder: Path, source: str) -> Loader:
    """Which library's format the folder has. UserError where it has none, or no safetensors in it."""
    if not folder.is_dir():
        raise UserError(
            f"No folder {folder}: give {_LOCAL}/path/to/folder that holds {CONFIG} and {WEIGHTS}, "
            f"or {IMAGE_CONFIG} and {IMAGE_WEIGHTS}."
        )
    if (folder / CONFIG).is_file():
        _require(folder, WEIGHTS, source)
        return "open_clip"
    if not (folder / IMAGE_CONFIG).is_file():
        raise UserError(f"{source} has no {CONFIG} and no {IMAGE_CONFIG}: not a folder of an encoder.")
    _require(folder, IMAGE_WEIGHTS, source)
    config = _json(folder / IMAGE_CONFIG, source)
    if "architecture" in config:
        return "timm"
    if "model_type" in config:
        return "transformers"
    raise UserError(f"{source}: its {IMAGE_CONFIG} names neither an architecture (timm) nor a model_type.")


def spec_of_folder(
    folder: Path, *, source: str, mpp: float | None, licence: str, revision: str | None, key: str | None
) -> EncoderSpec:
    """What the folder's card, the catalogue's entry `key`, or else its configuration says.

    UserError: files that are missing or not those of the card; a resolution that nobody states.
    """
    kind = format_of(folder, source)
    card = ModelCard.load(folder) if (folder / CARD_NAME).is_file() else None
    if card is not None:
        _check_against_card(folder, card)
        mpp, licence = card.tile_mpp, card.licence_weights
    if key is not None:
        entry = catalogue().encoders[key]
        mpp, licence = entry.mpp or mpp, entry.licence
    if mpp is None:
        raise UserError(
            f"{source} does not say at which resolution its tiles were: give it, e.g. "
            f"load_encoder({source!r}, mpp=0.5), or put a {CARD_NAME} beside the weights."
        )
    revision = (card.digest if card else revision) or _digest(folder, kind)
    if key is not None and catalogue().encoders[key].loads_with != "open_clip":
        norm = catalogue().norms.get(catalogue().encoders[key].norm or "") or _timm_norm(folder, source)
        return spec_of(key, source=source, revision=revision, mpp=mpp, norm=norm)
    name = (
        card.id if card else key or source.removeprefix(_HUB).removeprefix(_LOCAL).rstrip("/").split("/")[-1]
    )
    common: dict[str, Any] = {
        "id": name, "source": source, "revision": revision, "licence": licence, "mpp": mpp
    }  # fmt: skip
    try:
        return EncoderSpec(**common, **_facts(kind, folder, source))
    except (KeyError, TypeError) as error:
        raise UserError(f"{source}: its configuration does not say {error}.") from None


def _facts(kind: Loader, folder: Path, source: str) -> dict[str, Any]:
    """Sizes and normalisation by the configuration of each format. KeyError where one is not there."""
    if kind == "open_clip":
        config = _json(folder / CONFIG, source)
        model, pre = config["model_cfg"], config.get("preprocess_cfg", {})
        clip = catalogue().norms[_CLIP_NORM]
        return {
            "dim": model["embed_dim"],
            "tile_px": _side(model["vision_cfg"].get("image_size", 224)),
            "mean": pre.get("mean", clip.mean),
            "std": pre.get("std", clip.std),
        }
    config = _json(folder / IMAGE_CONFIG, source)
    if kind == "timm":
        norm, size = _timm_norm(folder, source), config["pretrained_cfg"]["input_size"]
        facts = {"dim": config["num_features"], "tile_px": size[-1], "mean": norm.mean, "std": norm.std}
        return {**facts, "text": False}
    norm = catalogue().norms["imagenet"]
    facts = {"dim": config["hidden_size"], "tile_px": 224, "mean": norm.mean, "std": norm.std}
    return {**facts, "pooling": "token", "text": False}


def _timm_norm(folder: Path, source: str) -> Norm:
    config = _json(folder / IMAGE_CONFIG, source).get("pretrained_cfg", {})
    if not {"mean", "std"} <= set(config):
        raise UserError(f"{source}: its {IMAGE_CONFIG} does not say by which mean and std pixels are scaled.")
    return Norm(mean=tuple(config["mean"]), std=tuple(config["std"]))


def _side(size: int | list[int]) -> int:
    return size if isinstance(size, int) else size[0]


def _json(path: Path, source: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{source}: {path.name} is no JSON ({error}). Fetch the folder again.") from None
    if not isinstance(found, dict):
        raise UserError(f"{source}: {path.name} holds no object. Fetch the folder again.")
    return found


def _require(folder: Path, weights: str, source: str) -> None:
    if (folder / weights).is_file():
        return
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    if pickled:
        raise UserError(
            f"{source} has only pickled weights ({', '.join(pickled)}), which are not loaded. Save them as "
            f"{weights}: safetensors.torch.save_file("
            f"torch.load({pickled[0]!r}, weights_only=True), {weights!r})"
        )
    raise UserError(
        f"{source} has no {weights}. Train an encoder with: pathagent finetune encoder --out runs/encoder"
    )


def _check_against_card(folder: Path, card: ModelCard) -> None:
    for name, digest in card.files.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != digest:
            raise UserError(
                f"{path} is not the file that {CARD_NAME} describes (incomplete download or changed "
                "weights). Restore it, or train again: pathagent finetune encoder --out runs/encoder"
            )


def _digest(folder: Path, kind: Loader) -> str:
    names = (CONFIG, WEIGHTS) if kind == "open_clip" else (IMAGE_CONFIG, IMAGE_WEIGHTS)
    return sha256_bytes(canonical_json({n: sha256_file(folder / n) for n in names}).encode())
