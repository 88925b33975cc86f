"""LoRA adapters of a profile: the name that each has, its rank, and which weights it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_file
from pathagent_tools.core.protocols import Role

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
ELSEWHERE: Final = "on the server"


def adapter_names(adapters: Mapping[Role, Path]) -> dict[Role, str]:
    """role → the name under which its adapter is loaded and served: all roles that share its folder.

    `{"diagnose": a, "judge": a, "answer": b}` gives `diagnose+judge` to two roles and `answer` to one.
    """
    sharing: dict[Path, list[Role]] = {}
    for role, folder in adapters.items():
        sharing.setdefault(folder, []).append(role)
    return {role: "+".join(sharing[folder]) for role, folder in adapters.items()}


def adapter_folders(adapters: Mapping[Role, Path]) -> dict[str, Path]:
    """name → folder, each folder once."""
    names = adapter_names(adapters)
    return {names[role]: folder for role, folder in adapters.items()}


def adapter_rank(folder: Path) -> int:
    """The largest rank in a LoRA folder as peft writes it. UserError where it is no such folder."""
    config = folder / CONFIG
    if not (config.is_file() and (folder / WEIGHTS).is_file()):
        raise UserError(
            f"{folder} is no LoRA adapter: it needs {CONFIG} and {WEIGHTS}. Train one with: "
            "pathagent finetune vlm, or correct vlm.adapters of the profile."
        )
    said = json.loads(config.read_text(encoding="utf-8"))
    return max(int(said["r"]), *map(int, (said.get("rank_pattern") or {}).values()), 1)


def adapter_keys(folder: Path, name: str) -> list[str]:
    """Names that the adapter's tensors have in a model of `transformers` that loaded it as `name`."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="np") as tensors:
        keys = list(tensors.keys())
    return [f"{key.removeprefix('base_model.model.').removesuffix('.weight')}.{name}.weight" for key in keys]


def adapter_digests(adapters: Mapping[Role, Path]) -> dict[str, str]:
    """role → sha256 of its weights (first 16 digits); `ELSEWHERE` where only the server has them."""
    files = {role: folder / WEIGHTS for role, folder in adapters.items()}
    return {role: sha256_file(f)[:16] if f.is_file() else ELSEWHERE for role, f in files.items()}
