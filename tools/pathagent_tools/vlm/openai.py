"""A VLM behind an OpenAI-compatible server (vLLM for one): chat completions bound to a JSON schema.

Pixels go to the configured host and nowhere else: redirects are refused and proxy variables ignored.
Every failure is typed, so that a run pauses when the server goes away and stops when the user must act.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pathagent_tools.core.errors import ModelError, ModelUnavailableError, UserError
from pathagent_tools.core.protocols import Completion, ModelRequest, Role
from pathagent_tools.vlm.chat_format import confidence_of, messages_of, read_answer

if TYPE_CHECKING:
    import httpx

_CONTEXT = ("context length", "context_length", "context window", "too long", "max_model_len")
_LONGEST_WAIT_S = 30.0


class OpenAIVLM:
    """Greedy answers from an OpenAI-compatible server, checked here against their schema.

    `url` is the base address (`http://127.0.0.1:8000/v1`; a bare host gets `/v1`). `model` may be left
    out where the server lists one base only. `adapters` maps a role to the name under which the server
    offers its adapter; roles without one are asked of the base. The key is read from the variable
    `api_key_env`, if set. Requests of one call are sent `concurrency` at a time.

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
        import httpx

        self.url = _base(url)
        self._key_name, self._timeout, self._seed = api_key_env, timeout_s, seed
        self._retries, self._backoff, self._concurrency = retries, backoff_s, concurrency
        key = os.environ.get(api_key_env)
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            follow_redirects=False,
            trust_env=False,
        )
        self._logprobs = True
        self.tile_px, self.tile_mpp = tile_px, tile_mpp
        self._adapters = dict(adapters or {})
        try:
            served = self._served()
            self.id = self._choose(model, served)
        except BaseException:
            self._client.close()
            raise
        self.revision = str((served or {}).get(self.id, {}).get("root") or "served")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        """Answers in the order of the requests.

        Raises ModelUnavailableError (server gone, overloaded or silent after retries), ModelError (no
        valid JSON after one repair), UserError (unknown model, context exceeded, refused key).
        """
        if len(requests) == 1:
            return [self._answer(requests[0])]
        with ThreadPoolExecutor(max_workers=self._concurrency) as pool:
            return list(pool.map(self._answer, requests))

    def _served(self) -> dict[str, dict[str, Any]] | None:
        """What the server lists: name → its card (`root`, and `parent` of an adapter); None: no list."""
        response = self._send("GET", "/models", None)
        if response.status_code in (404, 405):
            return None
        self._refuse(response)
        rows = _json(response).get("data", [])
        return {str(row["id"]): row for row in rows if "id" in row}

    def _choose(self, model: str | None, served: dict[str, dict[str, Any]] | None) -> str:
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
                raise UserError(f"{self.url} does not serve {name!r}. It serves: {names}.")
        return model

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
        response = self._send("POST", "/chat/completions", body)
        if response.status_code == 400 and self._logprobs and "logprobs" in response.text:
            self._logprobs = False
            return self._ask(request, messages, limit)
        self._refuse(response)
        answer = _json(response)
        choices = answer.get("choices") or [{}]
        return choices[0], answer.get("usage") or {}

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """The server's response, below 500. ModelUnavailableError when retries did not help."""
        import httpx

        trouble = ""
        for attempt in range(self._retries + 1):
            wait = self._backoff * 2**attempt
            try:
                response = self._client.request(method, self.url + path, json=body)
                if response.status_code < 500 and response.status_code != 429:
                    if response.status_code >= 300 or _is_json(response):
                        return response
                    trouble = "sent a damaged answer"
                else:
                    trouble = f"answered {response.status_code}"
                    wait = max(wait, _retry_after(response))
            except httpx.TimeoutException:
                trouble = f"gave no answer within {self._timeout:g} s"
            except httpx.UnsupportedProtocol:
                raise UserError(f"{self.url} is not an http address.") from None
            except httpx.TransportError as error:
                trouble = f"cannot be reached ({error})"
                if isinstance(error, httpx.ConnectError) and path == "/models":
                    break
            if attempt < self._retries:
                time.sleep(min(wait, _LONGEST_WAIT_S))
        raise ModelUnavailableError(
            f"The model server {self.url} {trouble}. Start it (for one of your own: pathagent "
            "serve vlm --profile NAME), or check --vlm-url."
        )

    def _refuse(self, response: httpx.Response) -> None:
        """UserError for a response that only the user can mend."""
        status = response.status_code
        if status < 300:
            return
        if status < 400:
            where = response.headers.get("location", "another address")
            raise UserError(
                f"{self.url} redirects to {where}: slide pixels go to the given host only. "
                "Give the final address with --vlm-url."
            )
        said = _message(response)
        if status in (401, 403):
            raise UserError(f"{self.url} refused the key: set {self._key_name} to a valid one.")
        if status == 404:
            served = self._served()
            names = ", ".join(served) if served else "nothing that it lists"
            raise UserError(f"{self.url} does not know this model ({said}). It serves: {names}.")
        if any(word in said.lower() for word in _CONTEXT):
            raise UserError(
                f"The request does not fit the context of {self.id}: {said}. "
                "Shorten the notes or the question, or serve the model with more context."
            )
        raise UserError(f"{self.url} refused the request ({status}): {said}")


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--vlm-url {url!r} is not an address: type for example http://127.0.0.1:8000/v1")
    return url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def _json(response: httpx.Response) -> dict[str, Any]:
    answer = response.json()
    if not isinstance(answer, dict):
        raise ModelError(f"{response.url} did not answer with a JSON object.")
    return answer


def _is_json(response: httpx.Response) -> bool:
    try:
        response.json()
    except ValueError:
        return False
    return True


def _message(response: httpx.Response) -> str:
    """The server's own words, one line, at most 300 characters."""
    try:
        body = response.json()
        said = body.get("error", body) if isinstance(body, dict) else body
        said = said.get("message", said) if isinstance(said, dict) else said
    except ValueError:
        said = response.text
    return " ".join(str(said).split())[:300]


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("retry-after", "")
    return float(given) if given.isdigit() else 0.0
