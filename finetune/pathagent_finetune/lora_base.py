"""The base model of a tuning: loaded in the precision of the hardware, named so that it is found again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pathagent_finetune.lora_recipe import LoraRecipe
from pathagent_tools.core.card import CARD_NAME, ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file
from pathagent_tools.vlm.inprocess import no_bars
from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class BaseName:
    """Which base it was: `id` as in the recipe, commit of the hub, digest of the weights of a folder."""

    id: str
    revision: str | None
    digest: str | None
    licence: str = "that of the base"

    def as_dict(self) -> dict[str, str | None]:
        """For a card."""
        return asdict(self)


def has_gpu() -> bool:
    """Whether a GPU can be used."""
    import torch

    return torch.cuda.is_available()


def in_bf16(plan: LoraRecipe) -> bool:
    """The recipe's word, or where it says `auto`: a GPU that computes in bfloat16 (emulation is slow)."""
    import torch

    if plan.bf16 != "auto":
        return plan.bf16
    return has_gpu() and torch.cuda.is_bf16_supported(including_emulation=False)


def check_packages(plan: LoraRecipe) -> None:
    """UserError that says what to install."""
    if find_spec("trl") is None or find_spec("datasets") is None:
        raise UserError("LoRA tuning needs the extra `finetune`: pip install 'pathagent[finetune]'.")
    if plan.quantize == "4bit":
        if not has_gpu():
            raise UserError("quantize: 4bit needs an NVIDIA GPU, and none is found here: set quantize: none.")
        if find_spec("bitsandbytes") is None:
            raise UserError("quantize: 4bit needs bitsandbytes: pip install bitsandbytes.")


def load_processor(plan: LoraRecipe) -> Any:
    """The base's processor, its tokenizer with a pad token. UserError where it cannot be loaded."""
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(_source(plan), revision=plan.revision or "main")
    except (OSError, ValueError) as error:
        raise _cannot_load(plan, error) from None
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or processor.chat_template is None:
        raise UserError(
            f"{plan.base} has no processor with a chat template: choose an instruction-tuned model."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def load_model(plan: LoraRecipe) -> tuple[Any, BaseName]:
    """The base, frozen by peft later, and its name. UserError where it cannot be loaded or is too small."""
    import torch
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    dtype = torch.bfloat16 if in_bf16(plan) else torch.float32
    given: dict[str, Any] = {}
    if plan.quantize == "4bit":
        given["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        given["device_map"] = {"": torch.cuda.current_device()}
    try:
        with no_bars():
            model = AutoModelForImageTextToText.from_pretrained(
                _source(plan), revision=plan.revision or "main", dtype=dtype, use_safetensors=True, **given
            )
    except (OSError, ValueError) as error:
        raise _cannot_load(plan, error) from None
    room = getattr(model.config.get_text_config(), "max_position_embeddings", plan.max_length)
    if plan.max_length > room:
        raise UserError(f"max_length {plan.max_length} is beyond the {room} tokens of {plan.base}.")
    return model, _name(plan, model)


def _source(plan: LoraRecipe) -> str:
    return str(EMBEDDED_WEIGHTS) if plan.base == EMBEDDED else plan.base


def _cannot_load(plan: LoraRecipe, error: Exception) -> UserError:
    return UserError(f"The base {plan.base!r} cannot be loaded: {str(error).splitlines()[0]}")


def _name(plan: LoraRecipe, model: Any) -> BaseName:
    folder = Path(_source(plan))
    if not folder.is_dir():
        return BaseName(plan.base, getattr(model.config, "_commit_hash", None) or plan.revision, None)
    if (folder / CARD_NAME).is_file():
        card = ModelCard.load(folder)
        return BaseName(plan.base, None, card.digest, card.licence_weights)
    weights = {p.name: sha256_file(p) for p in sorted(folder.glob("*.safetensors"))}
    return BaseName(plan.base, None, sha256_bytes(canonical_json(weights).encode()))
