"""Where the weights of a profile's VLM lie on this machine. Looks on disk only, never on the network."""

from __future__ import annotations

import json
from pathlib import Path

from pathagent_tools.core.card import CARD_NAME, ModelCard
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file
from pathagent_tools.encoders.registry import encoder_folder
from pathagent_tools.measure.cell_model import CellModel
from pathagent_tools.measure.lymphocytes import LymphocyteCounter
from pathagent_tools.measure.mitoses import MitosisDetector
from pathagent_tools.vlm.adapters import adapter_digests
from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS, Profile, VLMSpec


def weights_source(spec: VLMSpec) -> str | None:
    """What a loader is given: a folder or a hub repository; None where a server alone knows."""
    if spec.backend == "embedded":
        return str(EMBEDDED_WEIGHTS)
    if spec.backend == "openai" or spec.model is None:
        return None
    return spec.model


def models_digest(profile: Profile) -> str:
    """Short digest of a profile and of the weights of all its models that lie here: other models, another."""
    spec = profile.vlm
    folder = weights_folder(spec)
    base = spec.revision or (revision_of(folder) if folder else None)
    counts = [revision_of(folder) for _, folder in cell_folders(profile)]
    scans = encoder_folder(profile.encoder)
    encoder = revision_of(scans) if scans is not None and scans.is_dir() else None
    here = [base, adapter_digests(spec.adapters), counts, encoder]
    return sha256_bytes(canonical_json([profile.model_dump(mode="json"), here]).encode())[:12]


def cell_folders(profile: Profile) -> list[tuple[type[CellModel], Path]]:
    """What counts cells for a profile: the kind of each model, and its folder."""
    named = ((MitosisDetector, profile.mitoses), (LymphocyteCounter, profile.lymphocytes))
    return [(kind, kind.folder_of(name)) for kind, name in named if name is not None]


def is_hub(source: str) -> bool:
    """Whether a source is a repository of the hub, not a folder."""
    return not Path(source).is_dir() and not source.startswith("/")


def weights_folder(spec: VLMSpec) -> Path | None:
    """The folder that holds all weight files (safetensors), or None where they are not, or not all, here."""
    source = weights_source(spec)
    if source is None:
        return None
    folder = _cached(source, spec.revision) if is_hub(source) else Path(source)
    return folder if folder is not None and _complete(folder) else None


def revision_of(folder: Path) -> str:
    """The card's digest, or the digest of the weights; a hub model without a pinned revision says so."""
    if (folder / CARD_NAME).is_file():
        return ModelCard.load(folder).digest
    files = [folder / "model.safetensors", folder / "open_clip_model.safetensors"]
    return next((sha256_file(weights) for weights in files if weights.is_file()), "unpinned")


def _cached(repository: str, revision: str | None) -> Path | None:
    """The snapshot of a repository in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _complete(folder: Path) -> bool:
    """One file of weights, or every shard that the index names."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return all((folder / shard).is_file() for shard in shards)
