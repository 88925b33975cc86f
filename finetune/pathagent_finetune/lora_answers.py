"""What a tuned model says, beside its base: its own answers to held-out examples, word for word.

A loss says whether training helps; this says whether the words come out right. The floor is what always
giving the commonest answer of the training examples would score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from pathagent_finetune.lora_batch import pixels, rendered
from pathagent_finetune.tuning_example import TuningExample
from pathagent_finetune.user_corpus import Corpus

ROOM = 8
"""Tokens beyond the longest right answer after which a model is cut off: it is wrong by then."""


def answer_scores(model: Any, processor: Any, corpus: Corpus, *, limit: int, seed: int) -> dict[str, Any]:
    """Share of validation examples that the base and its adapter answer exactly, with the floor.

    At most `limit` of them, drawn by the seed. `model` is a peft model; answers are greedy and free, no
    grammar holds them. White space does not count.
    """
    held = corpus.of("validation")
    if len(held) > limit:
        held = Random(f"answers-{seed}").sample(held, limit)
    model.eval()
    with model.disable_adapter():
        before = [answer(model, processor, e) for e in held]
    after = [answer(model, processor, e) for e in held]
    common = Counter(_flat(e.completion) for e in corpus.of("train")).most_common(1)[0][0]
    return {
        "metric": "exact answer, greedy",
        "n": len(held),
        "patients": len({e.patient for e in held if e.patient}),
        "before": _exact(before, held),
        "after": _exact(after, held),
        "majority": _exact([common] * len(held), held),
    }


def answer(model: Any, processor: Any, example: TuningExample) -> str:
    """The model's own completion of an example's prompt."""
    import torch

    prompt, wanted = rendered(example, processor)
    shown = {"images": [[pixels(image) for image in example.images]]} if example.images else {}
    given = processor(text=[prompt], add_special_tokens=False, return_tensors="pt", **shown).to(model.device)
    longest = len(processor.tokenizer(wanted, add_special_tokens=False)["input_ids"]) + ROOM
    with torch.no_grad():
        ids = model.generate(
            **given, max_new_tokens=longest, do_sample=False, pad_token_id=processor.tokenizer.pad_token_id
        )
    said = ids[0, given["input_ids"].shape[1] :]
    return str(processor.tokenizer.decode(said, skip_special_tokens=True))


def _exact(said: Sequence[str], held: Sequence[TuningExample]) -> float:
    right = [_flat(s) == _flat(e.completion) for s, e in zip(said, held, strict=True)]
    return round(sum(right) / len(held), 4)


def _flat(text: str) -> str:
    return " ".join(text.split())
