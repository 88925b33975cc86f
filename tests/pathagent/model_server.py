"""An OpenAI-compatible server with the looking model behind it: real HTTP, and troubles on request.

`python model_server.py PORT LOG [ROLE:COUNT]` is the same in a process of its own, which kills itself
(SIGKILL) when the COUNT-th question of ROLE arrives; ROLE `list` counts the listings of its models.
LOG receives one JSON line an answer.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from stand_ins import LookingModel

from pathagent_tools.core.protocols import ModelRequest

PROSE = "The field most likely shows a granular cell tumour of the parotid."


class ModelServer(ThreadingHTTPServer):
    """Answers as `LookingModel` does; `troubles` maps a role to what befalls its next questions."""

    daemon_threads = True

    def __init__(self, port: int = 0, log: Path | None = None, die_at: str = "") -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.model, self.log, self.die_at = LookingModel(), log, die_at
        self.troubles: dict[str, list[str]] = {}
        self.seen: Counter[str] = Counter()
        self.said: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def arrived(self, role: str) -> str:
        """Count the question; dies if this was the one, else says what befalls it (mostly nothing)."""
        with self.lock:
            self.seen[role] += 1
            if self.die_at == f"{role}:{self.seen[role]}":
                os.kill(os.getpid(), signal.SIGKILL)
            waiting = self.troubles.get(role, [])
            return "" if not waiting else waiting[0] if len(waiting) == 1 else waiting.pop(0)

    def answer(self, request: ModelRequest) -> str:
        with self.lock:
            text = self.model.generate([request])[0].text
            self.said.append(text)
            if self.log is not None:
                with self.log.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"role": request.role, "text": text}) + "\n")
        return text


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200, {"data": [{"id": "looking-model", "root": "org/looking-model", "parent": None}]})
        self.server.arrived("list")

    def do_POST(self) -> None:
        request = request_of(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        trouble = self.server.arrived(request.role)
        if trouble == "500":
            self._reply(500, {"error": {"message": "out of luck"}})
        elif trouble == "truncate":
            self._head(200, 4000)
            self.wfile.write(b'{"choices": [{"mess')
            self.close_connection = True
        elif trouble == "close":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            if trouble == "delay":
                time.sleep(1.5)
            self._say(PROSE if trouble == "prose" else self.server.answer(request))

    def _say(self, text: str) -> None:
        tokens = [text[i : i + 4] for i in range(0, len(text), 4)]
        logprobs = {"content": [{"token": token, "logprob": -0.1} for token in tokens]}
        choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": logprobs}
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        self._reply(200, {"choices": [choice], "usage": usage})

    def _reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        try:
            self._head(status, len(data))
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):  # the client has given up waiting
            self.close_connection = True

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(length))
        self.end_headers()


def request_of(body: dict[str, Any]) -> ModelRequest:
    """The question as it was before it went over the wire."""
    system, user = body["messages"][0]["content"], body["messages"][1]["content"]
    images = [_pixels(part["image_url"]["url"]) for part in user if part["type"] == "image_url"]
    asked = body["response_format"]["json_schema"]
    return ModelRequest(asked["name"], system, user[-1]["text"], asked["schema"], tuple(images))


def _pixels(url: str) -> Any:
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


if __name__ == "__main__":
    port, log, *die_at = sys.argv[1:]
    ModelServer(int(port), Path(log), *die_at).serve_forever()
