"""A VLM behind an OpenAI-compatible server (vLLM for one): chat completions bound to a JSON schema.

Every failure is typed, so that a run pauses when the server goes away and stops when the user must act.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from pathagent_tools.core.errors import ModelError, UnknownModelError, UserError
from pathagent_tools.core.protocols import Completion, ModelRequest, Role
from pathagent_tools.vlm.chat_format import confidence_of, messages_of, read_answer
from pathagent_tools.vlm.model_server import Card, ModelServer, RefusedRequestError
from pathagent_tools.vlm.weights import revision_of


class OpenAIVLM:
    """Greedy answers from an OpenAI-compatible server, checked here against their schema.

    `url` is the base address (`http://127.0.0.1:8000/v1`; a bare host gets `/v1`). `model` may be left
    out where the server lists one base only. `adapters` maps a role to the name under which the server
    offers its adapter; roles without one are asked of the base. At most `concurrency` requests are in
    flight, whatever the number of threads that call. Retries and the key: see `ModelServer`.

    Raises ModelUnavailableError (no server there), UserError (bad address, unknown model, refused key).
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key_env: str = "PATHAGENT_VLM_API_KEY",
        tile_px: int = 448,
        tile_mpp: float = 0.5,
        timeout_s: float = 120.0,
        retries: int = 3,
        backoff_s: float = 0.5,
        concurrency: int = 8,
        seed: int = 0,
        adapters: Mapping[Role, str] | None = None,
    ) -> None:
        self._server = ModelServer(
            url,
            api_key_env=api_key_env,
            timeout_s=timeout_s,
            retries=retries,
            backoff_s=backoff_s,
            connections=concurrency,
        )
        self.url, self._seed, self._logprobs = self._server.url, seed, True
        self.tile_px, self.tile_mpp = tile_px, tile_mpp
        self._adapters = dict(adapters or {})
        try:
            served = self._server.models()
            self.id = self._choose(model, served)
        except BaseException:
            self._server.close()
            raise
        self.revision = self._revision((served or {}).get(self.id, {}))
        self._pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="vlm")

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._server.close()

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        """Answers in the order of the requests.

        Raises ModelUnavailableError (server gone, overloaded or silent after retries), ModelError (no
        valid JSON after one repair), UserError (unknown model, context exceeded, refused key).
        """
        asked = [self._pool.submit(self._answer, request) for request in requests]
        try:
            return [answer.result() for answer in asked]
        finally:
            for answer in asked:
                answer.cancel()
            wait(asked)

    def _choose(self, model: str | None, served: dict[str, Card] | None) -> str:
        if served is None:
            if model is None:
                raise UserError(f"{self.url} does not list its models: add --vlm-model NAME.")
            return model
        names = ", ".join(served) or "none"
        if model is None:
            bases = [name for name, card in served.items() if not card.get("parent")]
            if len(bases) != 1:
                raise UserError(f"{self.url} serves several models: add --vlm-model with one of {names}.")
            model = bases[0]
        for name in (model, *self._adapters.values()):
            if name not in served:
                raise UnknownModelError(f"{self.url} does not serve {name!r}. It serves: {names}.")
        return model

    def _revision(self, card: Card) -> str:
        """What the server says its weights are: the repository, or the digest of a folder of this machine.

        A folder elsewhere is only `served`: a path is no revision.
        """
        root = str(card.get("root") or "served")
        if not Path(root).is_absolute():
            return root
        return revision_of(Path(root)) if self._server.is_here and Path(root).is_dir() else "served"

    def _answer(self, request: ModelRequest) -> Completion:
        began = time.monotonic()
        messages = messages_of(request)
        limit, spent, wrong, text = request.max_tokens, [0, 0], "", ""
        for attempt in (0, 1):
            choice, usage = self._ask(request, messages, limit)
            spent = [spent[0] + usage.get("prompt_tokens", 0), spent[1] + usage.get("completion_tokens", 0)]
            text = (choice.get("message") or {}).get("content") or ""
            data, wrong = read_answer(text, request.schema)
            if not wrong:
                return Completion(
                    text=text,
                    data=data,
                    prompt_tokens=spent[0],
                    completion_tokens=spent[1],
                    seconds=time.monotonic() - began,
                    confidence=confidence_of(choice, text, data),
                    model=self.id,
                    revision=self.revision,
                    adapter=self._adapters.get(request.role),
                    extra={"repaired": True} if attempt else {},
                )
            limit = 2 * request.max_tokens
            messages = [
                *messages,
                {"role": "assistant", "content": text},
                {"role": "user", "content": f"Not usable: {wrong}. Answer with the JSON object only."},
            ]
        raise ModelError(
            f"{self.id} gave no usable {request.role} answer ({wrong}): {text[:200]!r}. "
            "Does the server support JSON schemas (response_format)?"
        )

    def _ask(
        self, request: ModelRequest, messages: list[dict[str, Any]], limit: int
    ) -> tuple[dict[str, Any], dict[str, int]]:
        """One completion: its first choice and its token usage."""
        body: dict[str, Any] = {
            "model": self._adapters.get(request.role, self.id),
            "messages": messages,
            "temperature": 0,
            "seed": self._seed,
            "max_tokens": limit,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": request.role, "strict": True, "schema": request.schema},
            },
        }
        if self._logprobs:
            body["logprobs"] = True
        try:
            answer = self._server.post("/chat/completions", body)
        except RefusedRequestError as error:
            if self._logprobs and "logprobs" in str(error):
                self._logprobs = False
                return self._ask(request, messages, limit)
            raise
        choices = answer.get("choices") or [{}]
        return choices[0], answer.get("usage") or {}
