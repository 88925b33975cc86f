"""Generators by name: `embedded`, `local-dir:/path`, plug-ins of the entry-point group."""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pathagent_tools.core.errors import UserError
from pathagent_tools.generators.protocol import ImageGenerator

GROUP: Final = "pathagent.generators"
"""Entry-point group: each entry is a callable without arguments that returns an `ImageGenerator`."""
EMBEDDED_FOLDER: Final = Path(__file__).parent / "embedded"
_LOCAL: Final = "local-dir:"
NEEDED: Final = ("diffusers", "c2pa", "imwatermark", "onnxruntime", "cv2", "cryptography", "torchstain")
"""Packages of the extra `generate`."""


def generator_names() -> list[str]:
    """Names that `load_generator` knows without a prefix."""
    return sorted({"embedded", *(e.name for e in entry_points(group=GROUP))})


def require_extra() -> None:
    """UserError where a package of the extra `generate` is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(
            f"Generating images needs the extra `generate` ({', '.join(missing)} missing): "
            "pip install 'pathagent[generate]' or uv sync --extra generate"
        )


def load_generator(
    name: str = "embedded", *, lora: Path | None = None, controlnet: Path | None = None
) -> ImageGenerator:
    """The generator of that name: `embedded`, `local-dir:/path` or a plug-in's.

    A folder with a `model_index.json` is a Stable-Diffusion-class pipeline, to which lora and controlnet
    may be added; a folder that `pathagent finetune generator --base` wrote is such a pipeline with its LoRA.
    UserError: unknown name, missing weights or packages.
    """
    for entry in entry_points(group=GROUP, name=name):
        loaded: ImageGenerator = entry.load()()
        return loaded
    require_extra()
    from pathagent_tools.generators.embedded_generator import EmbeddedGenerator

    if name == "embedded":
        return EmbeddedGenerator(EMBEDDED_FOLDER)
    if name.startswith(_LOCAL):
        folder = Path(name.removeprefix(_LOCAL)).expanduser()
        from pathagent_tools.generators.latent_pipeline import INDEX, LORA, LatentGenerator

        if (folder / INDEX).is_file():
            return LatentGenerator(folder, lora=lora, controlnet=controlnet)
        if (folder / LORA).is_file():
            if lora is not None:
                raise UserError(f"{folder} is a LoRA with its base: take it alone, or another base.")
            return LatentGenerator.tuned(folder, controlnet=controlnet)
        return EmbeddedGenerator(folder)
    close = difflib.get_close_matches(name, generator_names(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    known = ", ".join([*generator_names(), f"{_LOCAL}/path"])
    raise UserError(f"Unknown generator {name!r}.{hint} Known: {known}.")
