"""The OpenAI-compatible back end against a small real HTTP server that misbehaves on request."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from tiny_vlm import noise

from pathagent_tools.core.errors import (
    ContextExceededError,
    ModelError,
    ModelServerAbsentError,
    ModelServerGoneError,
    ModelTimeoutError,
    UnknownModelError,
    UserError,
)
from pathagent_tools.core.files import sha256_file
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm import roles
from pathagent_tools.vlm.openai import OpenAIVLM

ANSWER = {**{slot: values[-1] for slot, values in SLOTS.items()}, "sentence": "Mucin."}


class Server(ThreadingHTTPServer):
    """Answers chats from `script`, one entry a request; the last entry stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = ["vlm"]
        self.adapters: list[str] = []
        self.roots: dict[str, str] = {}
        self.at_once, self.most_at_once = 0, 0
        self.script: list[Any] = [ANSWER]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        cards = [
            {"id": name, "root": self.server.roots.get(name, f"org/{name}"), "parent": None}
            for name in self.server.models
        ]
        cards += [{"id": name, "root": "/tuned", "parent": "vlm"} for name in self.server.adapters]
        self._reply(200, {"data": cards})

    def do_POST(self) -> None:
        with self.server.lock:
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        time.sleep(0.01)
        try:
            self._answer()
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
            step = self.server.script[0] if len(self.server.script) == 1 else self.server.script.pop(0)
        if isinstance(step, tuple):
            self._reply(*step)
            return
        if step == "sleep":
            time.sleep(0.6)
            return
        if step == "truncate":
            self.send_response(200)
            self.send_header("content-length", "4000")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"mess')
            return
        if step == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        text = step if isinstance(step, str) else json.dumps(step)
        tokens = [text[i : i + 4] for i in range(0, len(text), 4)]
        logprobs = {"content": [{"token": t, "logprob": -0.5} for t in tokens]}
        choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": logprobs}
        usage = {"prompt_tokens": 70, "completion_tokens": len(tokens)}
        self._reply(200, {"choices": [choice], "usage": usage})

    def _reply(self, status: int, body: Any, location: str = "") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def vlm(server: Server) -> Iterator[OpenAIVLM]:
    found = OpenAIVLM(server.url, backoff_s=0.01, timeout_s=5)
    yield found
    found.close()


REQUEST = roles.describe(noise(1), field_um=224)


def test_the_request_carries_pixels_schema_and_greedy_settings(server: Server, vlm: OpenAIVLM) -> None:
    (done,) = vlm.generate([REQUEST])
    assert done.data == ANSWER
    assert (done.prompt_tokens, done.model, done.revision) == (70, "vlm", "org/vlm")
    assert done.confidence == pytest.approx(np.exp(-0.5), abs=1e-3)
    body = server.bodies[0]
    assert (body["temperature"], body["max_tokens"]) == (0, REQUEST.max_tokens)
    assert body["response_format"]["json_schema"]["schema"] == REQUEST.schema
    assert body["response_format"]["json_schema"]["strict"] is True
    image, text = body["messages"][1]["content"]
    png = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Picture.open(io.BytesIO(png))), REQUEST.images[0])
    assert text["text"] == REQUEST.user


def test_answers_keep_the_order_of_the_requests(server: Server, vlm: OpenAIVLM) -> None:
    requests = [roles.verify(f"Claim {i}.", "E1 stroma") for i in range(6)]
    server.script = [{"said": "claim", "seen": "look", "verdict": "supported"}]
    found = vlm.generate(requests)
    assert len(found) == 6
    assert {b["messages"][1]["content"][0]["text"].split(".")[0] for b in server.bodies} == {
        f"Claim: Claim {i}" for i in range(6)
    }


@pytest.mark.parametrize("trouble", [(500, {}), (503, {}), (429, {}), "truncate", "hang up"])
def test_passing_trouble_is_waited_out(trouble: Any, server: Server, vlm: OpenAIVLM) -> None:
    server.script = [trouble, trouble, ANSWER]
    assert vlm.generate([REQUEST])[0].data == ANSWER
    assert len(server.bodies) == 3


@pytest.mark.parametrize("trouble", [(500, {}), "truncate", "hang up"])
def test_lasting_trouble_pauses_the_run(trouble: Any, server: Server, vlm: OpenAIVLM) -> None:
    server.script = [trouble]
    with pytest.raises(ModelServerGoneError, match="--vlm-url"):
        vlm.generate([REQUEST])
    assert len(server.bodies) == 4


def test_a_server_that_is_too_slow_is_no_server_that_is_gone(server: Server) -> None:
    found = OpenAIVLM(server.url, timeout_s=0.3, retries=1, backoff_s=0.01)
    server.script = ["sleep"]
    with pytest.raises(ModelTimeoutError, match=r"no answer within 0\.3 s"):
        found.generate([REQUEST])
    found.close()
    assert len(server.bodies) == 2


def test_prose_is_repaired_once(server: Server, vlm: OpenAIVLM) -> None:
    server.script = ["The image shows mucin.", ANSWER]
    (done,) = vlm.generate([REQUEST])
    assert done.extra == {"repaired": True}
    assert done.prompt_tokens == 140
    assert [m["role"] for m in server.bodies[1]["messages"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    "answer",
    ["The image shows mucin.", "", '{"tissue": "mu', ANSWER | {"tissue": "bone"}, {"tissue": "mucin"}],
)
def test_an_answer_outside_the_schema_never_becomes_data(answer: Any, server: Server, vlm: OpenAIVLM) -> None:
    server.script = [answer]
    with pytest.raises(ModelError, match="describe"):
        vlm.generate([REQUEST])
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        ((404, {"error": {"message": "no such model"}}), UnknownModelError, "It serves: vlm"),
        (
            (400, {"error": {"message": "maximum context length is 2048 tokens"}}),
            ContextExceededError,
            "not fit the model's context",
        ),
        ((401, {}), UserError, "PATHAGENT_VLM_API_KEY"),
        ((422, {"error": "bad field"}), UserError, "bad field"),
        ((307, {}, "http://elsewhere.example/v1"), UserError, "elsewhere.example"),
    ],
)
def test_what_the_user_must_mend_is_said(
    reply: Any, kind: type[UserError], says: str, server: Server, vlm: OpenAIVLM
) -> None:
    server.script = [reply]
    with pytest.raises(kind, match=says):
        vlm.generate([REQUEST])
    assert len(server.bodies) == 1


def test_a_server_without_logprobs_is_asked_without(server: Server, vlm: OpenAIVLM) -> None:
    server.script = [(400, {"error": {"message": "logprobs are not supported"}}), ANSWER]
    vlm.generate([REQUEST])
    assert "logprobs" not in server.bodies[1]


def test_the_key_comes_from_its_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    found = OpenAIVLM(server.url, api_key_env="MY_KEY")
    found.generate([REQUEST])
    found.close()
    assert server.headers[0]["Authorization"] == "Bearer abc"


def test_an_unknown_model_is_named_beside_the_known(server: Server) -> None:
    with pytest.raises(UnknownModelError, match=r"'other'.*serves: vlm"):
        OpenAIVLM(server.url, model="other")
    server.models = ["vlm", "second"]
    with pytest.raises(UserError, match="--vlm-model with one of vlm, second"):
        OpenAIVLM(server.url)


def test_a_role_is_asked_by_the_name_of_its_adapter_and_the_others_of_the_base(server: Server) -> None:
    server.adapters = ["describe", "answer"]
    server.script = [ANSWER, {"said": "a", "seen": "b", "verdict": "supported"}]
    found = OpenAIVLM(server.url, adapters={"describe": "describe"})
    done = found.generate([REQUEST]) + found.generate([roles.verify("Necrosis.", "E1 necrosis")])
    found.close()
    assert [body["model"] for body in server.bodies] == ["describe", "vlm"]
    assert [c.adapter for c in done] == ["describe", None]


def test_an_adapter_that_the_server_lacks_is_not_replaced_by_the_base(server: Server) -> None:
    server.adapters = ["answer"]
    with pytest.raises(UnknownModelError, match=r"'describe'.*serves: vlm, answer"):
        OpenAIVLM(server.url, adapters={"describe": "describe"})


def test_a_folder_of_this_machine_is_named_by_its_digest_and_any_other_is_only_served(
    server: Server, checkpoint: Path
) -> None:
    for root, revision in (
        (str(checkpoint), sha256_file(checkpoint / "model.safetensors")),
        ("/nowhere/tuned", "served"),
        ("org/vlm", "org/vlm"),
    ):
        server.roots["vlm"] = root
        found = OpenAIVLM(server.url)
        found.close()
        assert found.revision == revision


def test_no_more_requests_are_in_flight_than_allowed_however_many_threads_ask(server: Server) -> None:
    found = OpenAIVLM(server.url, concurrency=2)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: found.generate([REQUEST] * 3), range(4)))
    found.close()
    assert len(server.bodies) == 12
    assert server.most_at_once == 2


def test_a_dead_port_says_how_to_start_a_server() -> None:
    with pytest.raises(ModelServerAbsentError, match=r"127\.0\.0\.1:9/v1 cannot be reached.*check --vlm-url"):
        OpenAIVLM("http://127.0.0.1:9", model="m")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is not an address"):
        OpenAIVLM(url, model="m")
