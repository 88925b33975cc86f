"""A vLLM server for a profile: started in a process group of its own, waited for, and stopped whole.

It ends with the process that started it, however that one ends: see `leash`.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pathagent_tools.core.errors import ModelUnavailableError, UserError
from pathagent_tools.vlm import leash
from pathagent_tools.vlm.profile import Profile, served_name
from pathagent_tools.vlm.vllm_command import server_command, server_environment, vllm_device

LOOPBACK: Final = "127.0.0.1"
READY_S: Final = 1800.0
"""A hub model is downloaded, loaded and compiled in this time."""
STOP_S: Final = 20.0

_PREFIX = re.compile(r"^(\([^)]*pid=\d+\) )?((INFO|WARNING|ERROR) \S+ \S+ \[[^\]]*\] )?")
_CAUSE = re.compile(r"^([\w.]+(Error|Exception|Interrupt)): (.+)")
_EMPTY = ("Engine core initialization failed", "WorkerProc initialization failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers: `url` ends in /v1, `model` is the base's name, `process` (the leash) leads its
    group."""

    url: str
    model: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running_server(
    profile: Profile,
    *,
    log: Path,
    host: str = LOOPBACK,
    port: int = 0,
    prefix_caching: bool = True,
    ready_s: float = READY_S,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Server]:
    """vLLM with the profile's base and adapters (named by role) while the block runs; then nothing is left.

    `port` 0 takes a free one. `log` receives what vLLM prints. `waiting` is told once a second what the
    server does while it starts. Raises UserError (vLLM absent, port taken, no weights, died while
    starting), ModelUnavailableError (not ready within `ready_s`).
    """
    device = vllm_device()
    port = open_port(host, port)
    command = server_command(profile, device, host=host, port=port, prefix_caching=prefix_caching)
    environment = os.environ | server_environment(profile, device)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*leash.COMMAND, *command],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        base = f"http://{LOOPBACK if host == '0.0.0.0' else host}:{port}"
        _wait(process, f"{base}/health", log, ready_s, waiting or (lambda _: None))
        yield Server(f"{base}/v1", str(served_name(profile.vlm)), process, log)
    finally:
        _stop(process)


def open_port(host: str, port: int) -> int:
    """`port` if it is free, any free one for 0. UserError where it is taken or the host is not ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"Port {port} of {host} cannot be used ({error.strerror}). Give another: --port {port + 1}"
            ) from None
        return int(probe.getsockname()[1])


def reason_in(text: str) -> str:
    """Why a vLLM that printed this has died: the last exception that says something, else the last line."""
    lines = [_PREFIX.sub("", line).strip() for line in text.splitlines()]
    causes = [found for line in lines if (found := _CAUSE.match(line))]
    telling = [c for c in causes if not c[3].startswith(_EMPTY)]
    if telling:
        return telling[-1][0][:400]
    return next((line[:400] for line in reversed(lines) if line), "it printed nothing")


def _wait(
    process: subprocess.Popen[bytes], health: str, log: Path, ready_s: float, waiting: Callable[[str], None]
) -> None:
    began = time.monotonic()
    while not _healthy(health):
        if process.poll() is not None:
            said = reason_in(log.read_text(encoding="utf-8", errors="replace"))
            raise UserError(f"vLLM stopped while starting: {said} (whole log: {log})")
        if time.monotonic() - began > ready_s:
            raise ModelUnavailableError(f"vLLM was not ready after {ready_s:g} s; its log: {log}")
        waiting(_last_line(log))
        time.sleep(1)


def _healthy(address: str) -> bool:
    import httpx

    try:
        return httpx.get(address, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _last_line(log: Path) -> str:
    with log.open("rb") as lines:
        lines.seek(max(0, log.stat().st_size - 2000))
        tail = lines.read().decode(errors="replace").splitlines()
    return _PREFIX.sub("", tail[-1]).strip() if tail else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, then end what is left of its group, also when interrupted meanwhile."""
    try:
        process.terminate()
        process.wait(STOP_S)
        _wait_for_group(process.pid)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()


def _wait_for_group(group: int, seconds: float = 5.0) -> None:
    """Give the leader's children a moment to tidy up."""
    end = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.1)
