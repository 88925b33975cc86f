"""The small tokenizer of the embedded VLM: byte-level BPE in the format of the Qwen family.

Three decisions keep sequences short and answers robust:

- digits stand alone (the Qwen rule), so percentages and scores are read digit by digit;
- ids that are copied (`E1`, `K7`, `S1`) are one token each, so pointing at evidence is one choice;
- the fixed text between the values of a JSON answer (`", "architecture": "`) is one token.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
EVIDENCE_IDS, CANDIDATE_IDS, SLIDE_IDS = 40, 16, 8

_HOLE = "\ue000"


def _hollow(value: Any) -> Any:
    """The same JSON value with every leaf replaced by a hole."""
    if isinstance(value, dict):
        return {key: _hollow(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hollow(item) for item in value]
    return _HOLE if isinstance(value, str) else f"{_HOLE}{_HOLE}"


def json_glue(target: Mapping[str, Any]) -> list[str]:
    """The fixed pieces of an answer's text, between its values.

    `{"tissue": "mucin", "mitoses": "none"}` → `{"tissue": "`, `", "mitoses": "`, `"}`.
    """
    text = json.dumps(_hollow(target), ensure_ascii=False)
    text = text.replace(f'"{_HOLE}{_HOLE}"', _HOLE)
    return [piece for piece in text.split(_HOLE) if piece]


def train_tokenizer(
    texts: Iterable[str], targets: Iterable[Mapping[str, Any]], *, vocab: int = 2048, min_glue: int = 20
) -> PreTrainedTokenizerBase:
    """Learn a tokenizer of at most `vocab` entries from prompts and answers.

    `texts` are the words (prompts and the string values of answers), `targets` the JSON answers: each
    piece of fixed text that occurs `min_glue` times becomes one token. UserError when `vocab` cannot
    hold the bytes, the ids and the fixed pieces.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    glue = Counter(piece for target in targets for piece in json_glue(target))
    pieces = sorted(piece for piece, n in glue.items() if n >= min_glue and len(piece) > 1)
    ids = [
        *(f"E{i}" for i in range(1, EVIDENCE_IDS + 1)),
        *(f"K{i}" for i in range(1, CANDIDATE_IDS + 1)),
        *(f"{space}S{i}" for i in range(1, SLIDE_IDS + 1) for space in ("", " ")),
    ]
    room = vocab - len(SPECIAL) - len(ids) - len(pieces)
    if room < 300:
        raise UserError(f"vocab {vocab} is too small: ids and fixed text leave {room} entries, 300 needed.")
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        chain(texts, ["true false null"] * 100),
        BpeTrainer(
            vocab_size=room,
            min_frequency=2,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    state = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(pair) for pair in state["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        additional_special_tokens=list(SPECIAL),
    )
    tokenizer.add_tokens([AddedToken(t, special=True) for t in SPECIAL], special_tokens=True)
    tokenizer.add_tokens([AddedToken(t, normalized=False, single_word=True) for t in ids])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in pieces])
    tokenizer.padding_side = "left"
    return tokenizer
