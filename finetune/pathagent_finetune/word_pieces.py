"""A small tokenizer learned from captions: byte-pair merges with ties broken by spelling.

The trainer of the `tokenizers` library breaks ties by hash order, so two runs of one recipe differ;
this one gives the same vocabulary for the same texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
_SPECIAL: Final = ("<pad>", "<bos>", "<eos>", "<unk>")
_END: Final = "</w>"
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789&'.,;:?!()/"


def build_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A transformers tokenizer of at most `vocabulary` entries, lower-casing, accents and hyphens removed.

    Unseen words fall apart into known pieces, down to single letters.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace("-", " "),
        ]
    )
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    entries = [*_SPECIAL, *_ALPHABET, *(letter + _END for letter in _ALPHABET)]
    merges = learn_merges(words, vocabulary - len(entries))
    entries += [left + right for left, right in merges]
    core = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(dict.fromkeys(entries))},
            merges=merges,
            unk_token="<unk>",
            end_of_word_suffix=_END,
        )
    )
    core.normalizer, core.pre_tokenizer = normalizer, splitter
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
    )
    core.decoder = decoders.BPEDecoder(suffix=_END)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def learn_merges(words: Counter[str], most: int) -> list[tuple[str, str]]:
    """At most `most` merges of the commonest neighbouring pieces; ties go to the first in spelling."""
    pieces = {
        word: (*word[:-1], word[-1] + _END) for word in sorted(words) if all(c in _ALPHABET for c in word)
    }
    merges: list[tuple[str, str]] = []
    made: set[str] = set()
    while len(made) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        made.add(best[0] + best[1])
        pieces = {word: _merged(parts, best) for word, parts in pieces.items()}
    return merges


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)
