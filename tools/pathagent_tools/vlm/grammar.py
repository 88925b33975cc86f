"""Greedy decoding under a JSON schema: xgrammar masks, and how sure the model was of each free token."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

KEPT = 24
"""Alternatives that are remembered per free token."""


@dataclass(slots=True)
class Step:
    """One generated token: its text, its probability among the allowed, and the likeliest alternatives.

    `alternatives` is empty where the grammar left no choice.
    """

    token: int
    probability: float
    alternatives: dict[int, float]


@dataclass(slots=True)
class Trace:
    """All steps of one answer."""

    steps: list[Step] = field(default_factory=list)
    cut: bool = False

    @property
    def confidence(self) -> float | None:
        """Geometric mean probability of the tokens that the grammar left free; None where there are none."""
        logs = [math.log(max(s.probability, 1e-12)) for s in self.steps if s.alternatives]
        return round(math.exp(sum(logs) / len(logs)), 4) if logs else None


class GrammarCompiler:
    """Compiled JSON schemas for one tokenizer, cached."""

    def __init__(self, tokenizer: Any, vocab_size: int, stop_ids: list[int]) -> None:
        import xgrammar

        self.vocab_size = vocab_size
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocab_size, stop_token_ids=stop_ids
        )
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=2, cache_limit_bytes=256 << 20)
        words = info.decoded_vocab
        self.closers = [[i for i, t in enumerate(words) if t in texts] for texts in ([b'"'], [b"]", b"}"])]
        self.control = [i for i, text in enumerate(words) if any(byte < 0x20 for byte in text)]

    def matcher(self, schema: dict[str, Any]) -> Any:
        """A fresh matcher of this schema. Spacing is that of `json.dumps`: `, ` and `: `."""
        import xgrammar

        compiled = self._compiler.compile_json_schema(json.dumps(schema), any_whitespace=False)
        return xgrammar.GrammarMatcher(compiled)


class GrammarProcessor:
    """A logits processor for one batch: forbids what the grammars forbid, remembers probabilities.

    Made for greedy decoding: the token that it takes as chosen is the likeliest allowed one. From step
    `limit` of a row on, whatever is open is closed as soon as the grammar allows it, so that an answer
    that runs on ends as valid JSON (`Trace.cut`).
    """

    def __init__(self, compiler: GrammarCompiler, schemas: list[dict[str, Any]], limits: list[int]) -> None:
        import xgrammar

        self._closers, self._control, self._limits = compiler.closers, compiler.control, limits
        self._matchers = [compiler.matcher(schema) for schema in schemas]
        self._mask = xgrammar.allocate_token_bitmask(len(schemas), compiler.vocab_size)
        self.traces = [Trace() for _ in schemas]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Masked logits [B, vocab]; rows whose answer is finished are left as they are."""
        import torch
        import xgrammar

        running = [i for i, matcher in enumerate(self._matchers) if not matcher.is_terminated()]
        if not running:
            return scores
        for i in running:
            self._matchers[i].fill_next_token_bitmask(self._mask, i)
        scores = scores.float()
        mask = self._mask.to(scores.device)
        xgrammar.apply_token_bitmask_inplace(scores, mask, indices=running)
        scores[:, self._control] = float("-inf")  # xgrammar lets them into strings, JSON does not
        for i in running:
            if len(self.traces[i].steps) >= self._limits[i]:
                self._close(scores[i])
                self.traces[i].cut = True
        rows = torch.softmax(scores[running], dim=-1)
        best, chosen = rows.max(dim=-1)
        top, top_ids = rows.topk(min(KEPT, rows.shape[-1]), dim=-1)
        free = torch.isfinite(scores[running]).sum(dim=-1).tolist()
        for row, i in enumerate(running):
            token = int(chosen[row])
            others: dict[int, float] = {}
            if free[row] > 1:
                pairs = zip(top_ids[row].tolist(), top[row].tolist(), strict=True)
                others = {t: p for t, p in pairs if p > 1e-4}
            self.traces[i].steps.append(Step(token, float(best[row]), others))
            self._matchers[i].accept_token(token)
        return scores

    def _close(self, row: torch.Tensor) -> None:
        import torch

        for tokens in self._closers:  # a quote first: inside a string, brackets are only letters
            allowed = [t for t in tokens if torch.isfinite(row[t])]
            if allowed:
                kept = row[allowed].clone()
                row.fill_(float("-inf"))
                row[allowed] = kept
                return


def slot_probabilities(
    schema: dict[str, Any], trace: Trace, pieces: list[str], token_text: Any
) -> dict[str, dict[str, float]]:
    """For each enum field of a flat answer: the probability of every value, from its first free token.

    `pieces` are the texts of the generated tokens in order; `token_text(id)` gives the text of any token.
    Values that begin with the same token share its probability by their number.
    """
    found: dict[str, dict[str, float]] = {}
    text = "".join(pieces)
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece))
    for name, field_schema in schema.get("properties", {}).items():
        values = [v for v in field_schema.get("enum", ()) if isinstance(v, str)]
        begin = text.find(f'"{name}": "') + len(name) + 5
        if not values or begin < len(name) + 5:
            continue
        step = next((i for i in range(len(pieces)) if starts[i + 1] > begin), None)
        if step is None:
            continue
        shares = dict.fromkeys(values, 0.0)
        known = text[begin : starts[step]] if starts[step] > begin else ""
        lead = text[starts[step] : begin] if starts[step] < begin else ""
        options = trace.steps[step].alternatives or {trace.steps[step].token: 1.0}
        for token, probability in options.items():
            said = (lead and token_text(token).removeprefix(lead)) or token_text(token)
            fits = [v for v in values if _agree(f'{v}"', known + said)]
            for value in fits:
                shares[value] += probability / len(fits)
        found[name] = {v: round(p, 4) for v, p in shares.items()}
    return found


def _agree(value: str, said: str) -> bool:
    return value.startswith(said) or said.startswith(value)
