"""A server in a process of its own, which can be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

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
    ) -> None:
        environment = os.environ | {
            "PATHAGENT_CACHE": str(cache),
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
        }
        command = [sys.executable, str(HERE / "stand_in_server.py"), str(data), str(slides), str(port)]
        self.process = subprocess.Popen(
            [*command, str(pause), "undecided" if undecided else ""],
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
def served(data: Path, slides: Path, cache: Path, **more: float) -> Iterator[Served]:
    """A server that is ended with the block."""
    server = Served(data, slides, cache, **more)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.end()
