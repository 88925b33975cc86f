"""Which layers LoRA adapts: the linear layers of the language model, whatever the architecture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn


def target_pattern(model: Any, targets: Literal["auto"] | Sequence[str] = "auto") -> str:
    """A pattern (full match on module names) for peft: linear layers inside the language model alone.

    The language model is the one that the class of `transformers` itself names as its decoder, so vision
    tower, projector and output head are outside. `targets` narrows it to layers by their last name.
    UserError where the model has no such part, or no such layer.
    """
    prefix, decoder = _language_model(model)
    found = sorted({name.rsplit(".", 1)[-1] for name in _linear(decoder, model.get_output_embeddings())})
    chosen = found if targets == "auto" else sorted(set(targets))
    if unknown := set(chosen) - set(found):
        raise UserError(
            f"{type(model).__name__} has no layer {', '.join(sorted(unknown))} in its language model: "
            f"set targets to auto or to some of {', '.join(found)}."
        )
    return rf"{re.escape(prefix)}\..*\.({'|'.join(map(re.escape, chosen))})"


def _language_model(model: Any) -> tuple[str, nn.Module]:
    """(dotted name, module) of the decoder."""
    decoder = model.get_decoder()
    name = next((n for n, module in model.named_modules() if module is decoder), "")
    if not name or decoder is model.base_model:
        raise UserError(
            f"{type(model).__name__} does not tell its language model from its vision tower: choose an "
            "image-text-to-text model with a separate one, as Qwen3-VL, Gemma 3, LLaVA or Idefics3."
        )
    return name, decoder


def _linear(decoder: nn.Module, head: nn.Module | None) -> list[str]:
    from torch import nn

    return [n for n, m in decoder.named_modules() if isinstance(m, nn.Linear) and m is not head]
