"""Examples as a processor of `transformers` takes them: their length in tokens, and batches of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathagent_finetune.tuning_example import Message, TuningExample
from pathagent_finetune.user_corpus import Corpus, Fault

if TYPE_CHECKING:
    import datasets


def too_long(corpus: Corpus, processor: Any, max_length: int) -> Corpus:
    """The corpus with a fault in place of each example that has more tokens than `max_length`.

    So has one that the chat template of the model refuses (a system message, two users in a row).
    """
    from jinja2 import TemplateError

    lengths = _Lengths(corpus, processor)
    kept, faults = [], list(corpus.faults)
    for example in corpus.examples:
        try:
            tokens = lengths.tokens(example)
        except (TemplateError, ValueError) as error:
            faults.append(Fault("refused by the chat template", example.id, str(error)))
            continue
        if tokens <= max_length:
            kept.append(example)
        else:
            faults.append(Fault("too long", example.id, f"{tokens} tokens, max_length is {max_length}"))
    return Corpus(tuple(kept), corpus.pictures, tuple(faults))


class _Lengths:
    """Tokens of an example; what images add depends on their sizes alone and is measured once a size."""

    def __init__(self, corpus: Corpus, processor: Any) -> None:
        self._pictures, self._processor = corpus.pictures, processor
        self._added: dict[tuple[tuple[int, int], ...], int] = {}

    def tokens(self, example: TuningExample) -> int:
        prompt, completion = rendered(example, self._processor)
        sizes = tuple(self._pictures[image].size_px for image in example.images)
        if sizes and sizes not in self._added:
            self._added[sizes] = self._with_images(prompt, sizes) - self._plain(prompt)
        return self._plain(prompt) + self._plain(completion) + self._added.get(sizes, 0)

    def _plain(self, text: str) -> int:
        return len(self._processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _with_images(self, prompt: str, sizes: Sequence[tuple[int, int]]) -> int:
        from PIL import Image

        blank = [Image.new("RGB", size) for size in sizes]
        shown = self._processor(text=[prompt], images=[blank], add_special_tokens=False, return_tensors="pt")
        return len(shown["input_ids"][0])


def rendered(example: TuningExample, processor: Any) -> tuple[str, str]:
    """Prompt and completion after the chat template."""
    from trl.data_utils import apply_chat_template

    both = apply_chat_template(_chat(example.prompt, example.completion), processor)
    return both["prompt"], both["completion"]


def _chat(prompt: Sequence[Message], completion: str) -> dict[str, Any]:
    answer = Message(role="assistant", content=completion)
    return {
        "prompt": [{"role": turn.role, "content": turn.parts()} for turn in prompt],
        "completion": [{"role": answer.role, "content": answer.parts()}],
    }


def dataset(examples: Sequence[TuningExample]) -> datasets.Dataset:
    """Rows for the trainer: the prompt as JSON, the completion, and the paths of the images."""
    from datasets import Dataset, Features, List, Value

    columns = {
        "prompt": [json.dumps([turn.model_dump() for turn in e.prompt]) for e in examples],
        "completion": [e.completion for e in examples],
        "images": [[str(image) for image in e.images] for e in examples],
    }
    text = Value("string")
    return Dataset.from_dict(
        columns, features=Features({"prompt": text, "completion": text, "images": List(text)})
    )


class Collator:
    """Rows of `dataset` as one batch: images are opened here, labels cover the completions alone."""

    def __init__(self, processor: Any) -> None:
        from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

        self._collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        return self._collate([self._opened(row) for row in rows])

    def _opened(self, row: Mapping[str, Any]) -> dict[str, Any]:
        prompt = [Message.model_validate(turn) for turn in json.loads(row["prompt"])]
        images = [pixels(Path(path)) for path in row["images"]]
        return _chat(prompt, row["completion"]) | {"images": images}


def pixels(path: Path) -> Any:
    """The image as RGB."""
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")
