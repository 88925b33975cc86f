"""Examples as padded batches of the embedded VLM, and its forward pass for training.

The prompt is the ChatML that the checkpoint's chat template gives (a test compares them); images stand
at the beginning of the user's turn. The loss sees the tokens of the answer only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pathagent_finetune.corpus.example import Example
from pathagent_tools.core.vocabulary import SLOTS

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

GLUE_WEIGHT, SLOT_WEIGHT, ID_WEIGHT = 0.3, 2.0, 2.5
"""Loss weight of the fixed text of an answer, of the slot values of a description, and of cited ids."""

ROLE_WEIGHT = {"write": 4.0, "describe": 4.0, "answer": 4.0, "diagnose": 2.0}
"""What an example weighs by its role where examples count evenly; other roles 1."""


def prompt_text(example: Example, image_tokens: int) -> str:
    """The chat text before the answer, with one placeholder per image token."""
    request = example.request
    image = ""
    if example.tile is not None:
        image = "<|vision_start|>" + "<|image_pad|>" * image_tokens + "<|vision_end|>"
    return (
        f"<|im_start|>system\n{request.system}<|im_end|>\n"
        f"<|im_start|>user\n{image}{request.user}<|im_end|>\n<|im_start|>assistant\n"
    )


@dataclass(frozen=True)
class Encoder:
    """Turns examples into token ids and loss weights with one tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    image_tokens: int
    value_weights: dict[tuple[str, str], float]
    """Weight of a slot's value in a description: rare values count more."""
    even: bool = False
    """Whether examples count by role (`ROLE_WEIGHT`) instead of by their length: a verdict is one token."""

    def answer(self, example: Example) -> tuple[list[int], list[float]]:
        """Ids of the answer with its end, and the weight of each."""
        end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        text = example.target_text
        coded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = [*coded["input_ids"], end]
        letters = [1.0] * len(text)
        if example.request.role == "describe":
            self._weigh_slots(example.target, text, letters)
        for cited in re.finditer(r'"[EK][0-9]+"', text):
            letters[cited.start() : cited.end()] = [ID_WEIGHT] * (cited.end() - cited.start())
        weights = [
            max(letters[a:b], default=1.0) if _free(text[a:b]) else GLUE_WEIGHT
            for a, b in coded["offset_mapping"]
        ]
        weights.append(1.0)
        if self.even:
            scale = ROLE_WEIGHT.get(example.request.role, 1.0) / sum(weights)
            weights = [scale * w for w in weights]
        return ids, weights

    def _weigh_slots(self, target: dict[str, Any], text: str, letters: list[float]) -> None:
        for slot in SLOTS:
            value = target[slot]
            start = text.index(f'"{slot}": "') + len(slot) + 5
            weight = SLOT_WEIGHT * self.value_weights.get((slot, value), 1.0)
            letters[start : start + len(value)] = [weight] * len(value)

    def prompt(self, example: Example) -> list[int]:
        """Ids of everything before the answer."""
        text = prompt_text(example, self.image_tokens)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _free(piece: str) -> bool:
    """Whether a token carries content: neither a key nor punctuation."""
    return '":' not in piece and piece.strip('", ]}[{') != ""


@dataclass(frozen=True)
class Batch:
    """Right-padded `ids` [B, L], loss `weights` [B, L] (0 on prompt and padding), `tiles` [B] or None."""

    ids: Tensor
    weights: Tensor
    tiles: list[int] | None


def collate(examples: Sequence[Example], encoder: Encoder) -> Batch:
    """Encode and pad examples that all have, or all have not, an image."""
    import torch

    rows = []
    for example in examples:
        prompt = encoder.prompt(example)
        answer, weights = encoder.answer(example)
        rows.append((prompt + answer, [0.0] * len(prompt) + weights))
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), longest), encoder.tokenizer.pad_token_id)
    weight = torch.zeros(len(rows), longest)
    for i, (row, row_weights) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        weight[i, : len(row)] = torch.tensor(row_weights)
    tiles = [e.tile for e in examples if e.tile is not None]
    if tiles and len(tiles) != len(examples):
        raise ValueError("a batch holds examples with an image or without one, not both")
    return Batch(ids, weight, tiles or None)


def positions(ids: Tensor, image_id: int) -> Tensor:
    """Rotary positions [3, B, L] (time, height, width) of sequences with at most one square image each."""
    import torch

    pad = ids == image_id
    count = int(pad.sum(dim=1).max())
    side = int(count**0.5)
    order = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    if count == 0:
        return order.expand(3, -1, -1)
    if not bool((pad.sum(dim=1) == count).all()):
        raise ValueError("all sequences of a batch need one image each")
    start = pad.int().argmax(dim=1, keepdim=True)
    inside = (order - start).clamp(0, count - 1)
    after = order - count + side
    plain = torch.where(order < start, order, after)
    height = torch.where(pad, start + inside // side, plain)
    width = torch.where(pad, start + inside % side, plain)
    return torch.stack([torch.where(pad, start, plain), height, width])


def forward(model: Any, batch: Batch, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits [T, vocab] and targets [T] of all T answer tokens of the batch.

    seen: the image tokens of the batch's tiles [B, 1 + deepstack, I, D] (`vision_tokens`), None without
    images.
    """
    inner = model.model
    ids = batch.ids
    embeds = inner.get_input_embeddings()(ids)
    mask, deep = None, None
    if seen is not None:
        mask = ids == model.config.image_token_id
        merged, *deep = seen.unbind(dim=1)
        embeds = embeds.masked_scatter(mask[..., None], merged.flatten(0, 1).to(embeds.dtype))
    hidden = inner.language_model(
        inputs_embeds=embeds,
        position_ids=positions(ids, model.config.image_token_id),
        use_cache=False,
        visual_pos_masks=mask,
        deepstack_visual_embeds=[d.flatten(0, 1) for d in deep] if deep else None,
    ).last_hidden_state
    keep = batch.weights[:, 1:] > 0
    return model.lm_head(hidden[:, :-1][keep]), ids[:, 1:][keep]


def value_weights(truth: Sequence[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """(mean count / count)^½ of every slot value in a store, at most 4."""
    found = {}
    for slot, values in SLOTS.items():
        counts = np.array([sum(t["findings"][slot] == v for t in truth) for v in values], float)
        for value, count in zip(values, counts, strict=True):
            found[slot, value] = float(min(4.0, (counts.mean() / max(count, 1.0)) ** 0.5))
    return found


def leaf_texts(value: Any) -> list[str]:
    """All strings of an answer."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in leaf_texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in leaf_texts(item)]
    return [value] if isinstance(value, str) else []
