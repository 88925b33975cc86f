"""The embedded generator's network in a folder: `config.json` and `model.safetensors` (fp16)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.generators.network import Generator, Shape

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"


def save_network(net: Generator, folder: Path) -> None:
    """Write configuration and fp16 weights; the weights last, under a temporary name."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomic(folder / CONFIG, net.shape.model_dump_json(indent=2) + "\n")
    part = folder / f".{WEIGHTS}.tmp"
    save_file({k: v.detach().half().contiguous() for k, v in net.state_dict().items()}, part)
    part.chmod(0o644)
    part.replace(folder / WEIGHTS)


def load_network(folder: Path) -> Generator:
    """The network of a folder, in evaluation mode, float32. UserError where it is no such folder."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder} holds no generator ({CONFIG}, {WEIGHTS}). "
            "Train one: pathagent finetune generator --recipe generator --out runs/generator"
        )
    try:
        net = Generator(Shape.model_validate_json((folder / CONFIG).read_text()))
        net.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
    except (ValidationError, SafetensorError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is no generator that can be loaded: {said}") from error
    return net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]
