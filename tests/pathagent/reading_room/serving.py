"""A server in a process of its own, which can be killed and started again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rooms import API

HERE = Path(__file__).parent


class Served:
    """One server process."""

    def __init__(
        self,
        data: Path,
        slides: Path,
        cache: Path,
        *,
        port: int = 0,
        pause: float = 0.0,
        undecided: bool = False,
        database: str = "",
    ) -> None:
        environment = os.environ | {
            "PATHAGENT_CACHE": str(cache),
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
        }
        command = [sys.executable, str(HERE / "stand_in_server.py"), str(data), str(slides), str(port)]
        self.process = subprocess.Popen(
            [*command, str(pause), "undecided" if undecided else "", database],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().strip()
        self.address = self.link.partition("/enter")[0].rstrip("/")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """SIGTERM."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def reader(self) -> httpx.Client:
        """Somebody who has come in by the link."""
        closing = httpx.Limits(max_keepalive_connections=0)  # no test has to close its reader
        client = httpx.Client(base_url=self.address, timeout=60, limits=closing)
        client.get(self.link)
        return with_word(client)


def with_word(client: httpx.Client) -> httpx.Client:
    """The client with the word of its session in its headers."""
    page = client.get("/").text
    found = re.search(r'name="csrf" content="(\w+)"', page)
    assert found, page
    client.headers["x-csrf-token"] = found[1]
    return client


@contextmanager
def served(data: Path, slides: Path, cache: Path, **more: Any) -> Iterator[Served]:
    """A server that is ended with the block."""
    server = Served(data, slides, cache, **more)
    try:
        yield server
    finally:
        server.end()


def wait_for(reader: httpx.Client, case: str, settled: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The case once it is so."""
    for _ in range(600):
        view: dict[str, Any] = reader.get(f"{API}/cases/{case}").json()
        if settled(view):
            return view
        time.sleep(0.4)
    raise AssertionError(view["runs"])


def looked(reader: httpx.Client, case: str) -> list[dict[str, Any]]:
    """The looks that there are by now."""
    return [e for e in events_of(reader, case) if e["kind"] == "looked"]


def events_of(reader: httpx.Client, case: str, after: int = 0) -> list[dict[str, Any]]:
    """What has happened by now, over the stream of events."""
    found: list[dict[str, Any]] = []
    newest = reader.get(f"{API}/cases/{case}").json()["newest_event"]
    headers = {"last-event-id": str(after)} if after else {}
    with reader.stream("GET", f"{API}/cases/{case}/events", headers=headers) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
                if found[-1]["seq"] >= newest:
                    break
    return found
