"""The HTTP side of an OpenAI-compatible model server: retries with back-off, and typed failures.

Pixels go to the configured host and nowhere else: redirects are refused and proxy variables ignored.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from pathagent_tools.core.errors import (
    ContextExceededError,
    ModelError,
    ModelServerAbsentError,
    ModelServerGoneError,
    ModelTimeoutError,
    ModelUnavailableError,
    UnknownModelError,
    UserError,
)

if TYPE_CHECKING:
    import httpx

MODELS = "/models"
_CONTEXT = ("context length", "context_length", "context window", "too long", "max_model_len")
_LONGEST_WAIT_S = 30.0

Card = dict[str, Any]


class ModelServer:
    """One server at `url` (a bare host gets `/v1`), asked over at most `connections` at a time.

    A request that fails in passing (500 and above, 429, a damaged body, a lost connection, no answer
    within `timeout_s`) is sent again `retries` times, after `backoff_s`, twice that, and so on.
    The key is read from the variable `api_key_env`, if set.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key_env: str,
        timeout_s: float,
        retries: int,
        backoff_s: float,
        connections: int,
    ) -> None:
        import httpx

        self.url = _base(url)
        self._key_name, self._timeout = api_key_env, timeout_s
        self._retries, self._backoff = retries, backoff_s
        key = os.environ.get(api_key_env)
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, so that its paths are ours."""
        return urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")

    def models(self) -> dict[str, Card] | None:
        """What the server lists: name → its card (`root`, and `parent` of an adapter); None: no list."""
        response = self._send("GET", MODELS, None)
        if response.status_code in (404, 405):
            return None
        self._check(response)
        rows = _object(response).get("data", [])
        return {str(row["id"]): row for row in rows if "id" in row}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises ModelUnavailableError (ModelServerAbsentError, ModelServerGoneError, ModelTimeoutError) when
        retries did not help, UserError (UnknownModelError, ContextExceededError) for what only the user
        can mend.
        """
        response = self._send("POST", path, body)
        self._check(response)
        return _object(response)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """The server's response, below 500."""
        import httpx

        trouble: ModelUnavailableError | None = None
        for attempt in range(self._retries + 1):
            wait = self._backoff * 2**attempt
            try:
                response = self._client.request(method, self.url + path, json=body)
                if response.status_code >= 300 or _is_json(response):
                    if response.status_code < 500 and response.status_code != 429:
                        return response
                    trouble = self._trouble(ModelServerGoneError, f"answered {response.status_code}")
                    wait = max(wait, _retry_after(response))
                else:
                    trouble = self._trouble(ModelServerGoneError, "sent a damaged answer")
            except httpx.TimeoutException:
                trouble = self._trouble(ModelTimeoutError, f"gave no answer within {self._timeout:g} s")
            except httpx.UnsupportedProtocol:
                raise UserError(f"{self.url} is not an http address.") from None
            except httpx.TransportError as error:
                first = isinstance(error, httpx.ConnectError) and path == MODELS
                kind = ModelServerAbsentError if first else ModelServerGoneError
                trouble = self._trouble(kind, f"cannot be reached ({error})")
                if first:
                    break
            if attempt < self._retries:
                time.sleep(min(wait, _LONGEST_WAIT_S))
        assert trouble is not None
        raise trouble

    def _trouble(self, kind: type[ModelUnavailableError], what: str) -> ModelUnavailableError:
        return kind(
            f"The model server {self.url} {what}. Start it (for one of your own: pathagent "
            "serve vlm --profile NAME), or check --vlm-url."
        )

    def _check(self, response: httpx.Response) -> None:
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
        self._refused(status, _message(response))

    def _refused(self, status: int, said: str) -> NoReturn:
        if status in (401, 403):
            raise UserError(f"{self.url} refused the key: set {self._key_name} to a valid one.")
        if status == 404:
            served = self.models()
            names = ", ".join(served) if served else "nothing that it lists"
            raise UnknownModelError(f"{self.url} does not know this model ({said}). It serves: {names}.")
        if any(word in said.lower() for word in _CONTEXT):
            raise ContextExceededError(
                f"The request does not fit the model's context: {said}. "
                "Shorten the notes or the question, or serve the model with more context."
            )
        raise RefusedRequestError(f"{self.url} refused the request ({status}): {said}")


class RefusedRequestError(UserError):
    """The server does not take such a request."""


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--vlm-url {url!r} is not an address: type for example http://127.0.0.1:8000/v1")
    return url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def _object(response: httpx.Response) -> dict[str, Any]:
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
