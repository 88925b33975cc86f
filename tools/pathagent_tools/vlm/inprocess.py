"""A VLM inside this process: `transformers` on CPU or GPU, answers bound to their JSON schema.

Any image-text-to-text model of the hub can stand here; the embedded one does so by default.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathagent_tools.core.errors import ContextExceededError, ModelError, UserError
from pathagent_tools.core.protocols import Completion, ModelRequest, Role
from pathagent_tools.vlm.adapters import adapter_folders, adapter_keys, adapter_names, adapter_rank
from pathagent_tools.vlm.grammar import GrammarCompiler, GrammarProcessor, Trace, slot_probabilities
from pathagent_tools.vlm.schema_check import fault
from pathagent_tools.vlm.weights import revision_of

if TYPE_CHECKING:
    import torch

BATCH = 16
CLOSING = 96
"""Tokens beyond `max_tokens` in which an answer that ran on is closed."""


class TransformersVLM:
    """Greedy, grammar-bound answers of a `transformers` image-text-to-text model.

    `model` is a folder or a hub repository, `revision` a pinned commit of the latter. `adapters` maps a
    role to the folder of its LoRA adapter. `dtype` defaults to float32 on the CPU and bfloat16 elsewhere.
    Requests of one role are answered together (left padding); a lock makes calls from threads take turns.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "cpu",
        dtype: str | None = None,
        adapters: Mapping[Role, Path] | None = None,
        tile_px: int = 192,
        tile_mpp: float = 1.0,
        id: str | None = None,
    ) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        source = str(model)
        given: dict[str, Any] = {"revision": revision} if revision else {}
        try:
            with no_bars():
                self._processor = AutoProcessor.from_pretrained(source, **given)
                self._model = AutoModelForImageTextToText.from_pretrained(
                    source,
                    dtype=getattr(torch, dtype or ("float32" if device == "cpu" else "bfloat16")),
                    use_safetensors=True,
                    **given,
                )
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"The VLM {source!r} cannot be loaded: {reason}") from None
        self._model.to(device).eval()
        self._device, self._lock = device, threading.Lock()
        self.id = id or Path(source).name
        self.revision = revision or revision_of(Path(source))
        self.tile_px, self.tile_mpp = tile_px, tile_mpp
        self._adapters = adapter_names(adapters or {})
        self._load_adapters(adapter_folders(adapters or {}))
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._stop = _stop_ids(self._model, tokenizer)
        size = self._model.get_output_embeddings().weight.shape[0]
        self._grammar = GrammarCompiler(tokenizer, size, self._stop)
        self._room = int(self._model.config.get_text_config().max_position_embeddings)

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        """Answers in the order of the requests.

        An answer that reaches `max_tokens` is closed by the grammar and says `extra["cut"]`. Raises
        UserError (the prompt does not fit the model's context), ModelError (no valid JSON even so).
        """
        with self._lock:
            answers: dict[int, Completion] = {}
            groups: dict[tuple[str, int], list[int]] = {}
            for i, request in enumerate(requests):
                groups.setdefault((request.role, len(request.images)), []).append(i)
            for indices in groups.values():
                for start in range(0, len(indices), BATCH):
                    part = indices[start : start + BATCH]
                    answers.update(zip(part, self._answer([requests[i] for i in part]), strict=True))
            return [answers[i] for i in range(len(requests))]

    def _answer(self, requests: list[ModelRequest]) -> list[Completion]:
        import torch

        began = time.monotonic()
        inputs = self._inputs(requests)
        prompt = inputs["input_ids"].shape[1]
        limit = max(r.max_tokens for r in requests) + CLOSING
        if prompt + limit > self._room:
            raise ContextExceededError(
                f"A {requests[0].role} request needs {prompt} + {limit} tokens; {self.id} has room for "
                f"{self._room}. Shorten the notes or the question, or choose a model with more context."
            )
        adapter = self._adapters.get(requests[0].role)
        processor = GrammarProcessor(
            self._grammar, [r.schema for r in requests], [r.max_tokens for r in requests]
        )
        with torch.inference_mode():
            self._choose(adapter)
            self._model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=limit,
                logits_processor=[processor],
                eos_token_id=self._stop,
                pad_token_id=self._pad,
            )
        seconds = (time.monotonic() - began) / len(requests)
        counts = inputs["attention_mask"].sum(dim=1).tolist()
        traces = zip(requests, processor.traces, counts, strict=True)
        return [self._completion(r, trace, count, seconds, adapter) for r, trace, count in traces]

    def _load_adapters(self, folders: Mapping[str, Path]) -> None:
        """Each adapter once, whatever the number of its roles. UserError where one is of another base."""
        for name, folder in folders.items():
            adapter_rank(folder)
            other = f"The adapter {folder} does not fit {self.id}: correct vlm.adapters of the profile."
            try:
                with quiet_loading():
                    self._model.load_adapter(str(folder), adapter_name=name)
            except (RuntimeError, ValueError):
                raise UserError(other) from None
            if not set(adapter_keys(folder, name)) <= set(self._model.state_dict()):
                raise UserError(other)
        if folders:
            self._model.disable_adapters()

    def _choose(self, adapter: str | None) -> None:
        if not self._adapters:
            return
        if adapter is None:
            self._model.disable_adapters()
        else:
            self._model.enable_adapters()
            self._model.set_adapter(adapter)

    def _inputs(self, requests: list[ModelRequest]) -> dict[str, torch.Tensor]:
        texts, images = [], []
        for request in requests:
            parts: list[dict[str, str]] = [{"type": "image"} for _ in request.images]
            parts.append({"type": "text", "text": request.user})
            messages = [
                {"role": "system", "content": [{"type": "text", "text": request.system}]},
                {"role": "user", "content": parts},
            ]
            texts.append(
                self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            )
            images.append(list(request.images))
        shown = images if requests[0].images else None
        start = self._processor.tokenizer.bos_token
        # Gemma's template writes the first token, and its tokenizer would write it again
        given = {"add_special_tokens": False} if start and texts[0].startswith(start) else {}
        inputs = self._processor(text=texts, images=shown, padding=True, return_tensors="pt", **given)
        return {key: value.to(self._device) for key, value in inputs.items()}

    def _text_of(self, token: int) -> str:
        return str(self._processor.tokenizer.decode([token]))

    def _completion(
        self, request: ModelRequest, trace: Trace, prompt: int, seconds: float, adapter: str | None
    ) -> Completion:
        tokens = [s.token for s in trace.steps if s.token not in self._stop]
        text = self._processor.tokenizer.decode(tokens)
        try:
            data = json.loads(text)
            wrong = fault(data, request.schema)
        except json.JSONDecodeError as error:
            data, wrong = None, str(error)
        if wrong:
            raise ModelError(f"{self.id} gave no usable {request.role} answer ({wrong}): {text[:200]!r}")
        pieces = [self._text_of(token) for token in tokens]
        slots = slot_probabilities(request.schema, trace, pieces, self._text_of)
        extra = ({"slots": slots} if slots else {}) | ({"cut": True} if trace.cut else {})
        return Completion(
            text=text,
            data=data,
            prompt_tokens=int(prompt),
            completion_tokens=len(trace.steps),
            seconds=seconds,
            confidence=trace.confidence,
            model=self.id,
            revision=self.revision,
            adapter=adapter,
            extra=extra,
        )


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Loading an adapter says nothing.

    transformers calls the weights of every other adapter missing, and peft asks whether several on one
    model are meant: they are, one a role.
    """
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with no_bars(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
            yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def no_bars() -> Iterator[None]:
    """Loading shows no bar of its own: the command line has one line of progress."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _stop_ids(model: Any, tokenizer: Any) -> list[int]:
    found = model.generation_config.eos_token_id
    if found is None:
        found = tokenizer.eos_token_id
    return [int(i) for i in found] if isinstance(found, list) else [int(found)]
