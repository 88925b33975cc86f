"""A run over HTTP whose model server misbehaves or is killed: it waits, pauses or says what is missing.

It never writes what the model did not say.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from model_server import PROSE, ModelServer
from stand_ins import ColourEncoder

from pathagent.cli import run
from pathagent_tools.core.records import Report

HERE = Path(__file__).parent
PHASES = {
    "triage": "list:1",
    "description": "describe:1",
    "description of the second branch": "describe:5",
    "diagnosis": "diagnose:1",
    "judgement": "judge:1",
    "navigation of a later round": "navigate:2",
    "description of a later round": "describe:8",
    "writing": "write:1",
    "answer": "answer:1",
    "verification": "verify:1",
    "last verification": "verify:4",
}
FAST = ("triage", "description", "diagnosis", "navigation of a later round", "writing", "verification")
SAVED = ("diagnosis", "judgement", "navigation of a later round", "writing", "answer", "verification")
"""Phases in which every look that was answered is in the checkpoint."""

Command = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No time passes between retries; the waits are noted. The scan is that of the tiny encoder."""
    noted: list[float] = []
    monkeypatch.setattr("pathagent_tools.vlm.model_server.time", SimpleNamespace(sleep=noted.append))
    monkeypatch.setattr("pathagent_tools.encoders.registry.load_encoder", lambda *_, **__: ColourEncoder())
    return noted


def words(slide: Path, out: Path, url: str, *, timeout_s: float = 30) -> list[str]:
    """The command, with a profile for anybody's server whose model wants 96 px at 1 µm per px."""
    path = out.parent / "http.yaml"
    vlm = {"backend": "openai", "tile_px": 96, "tile_mpp": 1.0, "timeout_s": timeout_s}
    path.write_text(yaml.safe_dump({"name": "http", "encoder": "embedded", "domain": "open", "vlm": vlm}))
    asked = ["--question", "Is there tumour?", "--looks", "9"]
    return ["report", str(slide), "-o", str(out), "--profile", str(path), "--vlm-url", url, *asked]


@pytest.fixture
def command(lesion_slide: Path) -> Command:
    return partial(words, lesion_slide)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """In this process, so that a test can order troubles."""
    with ModelServer() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


class Serving:
    """The same server in processes of its own, one life after the other at one address."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url, self._folder, self._lives = f"http://127.0.0.1:{self.port}/v1", folder, 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, die_at: str = "") -> Path:
        """A new life; returns its log."""
        self._lives += 1
        log = self._folder / f"life-{self._lives}.jsonl"
        log.touch()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)])}
        words = [sys.executable, str(HERE / "model_server.py"), str(self.port), str(log), die_at]
        self._process = subprocess.Popen(words, env=environment)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return log
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def end(self) -> int:
        assert self._process is not None
        self._process.kill()
        return self._process.wait()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    found = Serving(tmp_path)
    yield found
    found.end()


def answered(log: Path) -> Counter[str]:
    return Counter(json.loads(line)["role"] for line in log.read_text().splitlines())


def read(out: Path) -> Report:
    return Report.model_validate_json((out / "report.json").read_text())


@pytest.fixture(scope="module")
def reference(lesion_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Counter[str]]:
    """(the report of an untroubled run, questions by role)."""
    out = tmp_path_factory.mktemp("untroubled") / "out"
    with ModelServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHAGENT_CACHE", str(out.parent / "cache"))
        patch.setattr("pathagent_tools.encoders.registry.load_encoder", lambda *_, **__: ColourEncoder())
        threading.Thread(target=server.serve_forever).start()
        assert run(words(lesion_slide, out, server.url)) == 0
        server.shutdown()
    return (out / "report.json").read_text(), server.seen


def test_the_run_of_these_tests_asks_every_role(reference: tuple[str, Counter[str]]) -> None:
    text, asked = reference
    assert {"describe", "navigate", "diagnose", "judge", "write", "verify", "answer"} <= set(asked)
    assert '"outcome": "report"' in text
    for place in PHASES.values():
        role, _, count = place.partition(":")
        assert asked[role] >= int(count), place


@pytest.mark.parametrize(
    "phase", [p if p in FAST else pytest.param(p, marks=pytest.mark.slow) for p in PHASES]
)
def test_a_server_killed_in_any_phase_pauses_the_run_and_the_same_command_finishes(
    phase: str,
    serving: Serving,
    command: Command,
    reference: tuple[str, Counter[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    typed = command(out, serving.url)
    first = serving.start(PHASES[phase])
    assert run(typed) == 4
    assert serving.end() == -9
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert said.strip().endswith(shlex.join(["pathagent", *typed]))
    assert not out.exists()

    second = serving.start()
    assert run(typed) == 0
    text, asked = reference
    assert (out / "report.json").read_text() == text
    if phase in SAVED:
        assert answered(second)["describe"] == asked["describe"] - answered(first)["describe"]


@pytest.mark.parametrize(
    ("trouble", "role"),
    [("500", "describe"), ("truncate", "judge"), ("delay", "verify"), ("close", "describe")],
)
def test_passing_trouble_leaves_no_trace_in_the_report(
    trouble: str,
    role: str,
    server: ModelServer,
    command: Command,
    reference: tuple[str, Counter[str]],
    waits: list[float],
    tmp_path: Path,
) -> None:
    server.troubles[role] = [trouble, trouble, ""]
    typed = command(tmp_path / "out", server.url, timeout_s=1 if trouble == "delay" else 30)
    assert run(typed) == 0
    assert (tmp_path / "out" / "report.json").read_text() == reference[0]
    assert waits[:1] == [0.5]


@pytest.mark.parametrize("trouble", ["500", "truncate", "delay", "close"])
def test_lasting_trouble_pauses_and_says_what_it_was(
    trouble: str,
    server: ModelServer,
    command: Command,
    reference: tuple[str, Counter[str]],
    waits: list[float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    server.troubles["diagnose"] = [trouble]
    assert run(command(out, server.url, timeout_s=1 if trouble == "delay" else 30)) == 4
    says = {
        "500": "answered 500",
        "truncate": "cannot be reached",
        "delay": "gave no answer within 1 s",
        "close": "cannot be reached",
    }
    assert says[trouble] in capsys.readouterr().err
    assert waits[-3:] == [0.5, 1.0, 2.0]
    assert not out.exists()
    server.troubles.clear()
    assert run(command(out, server.url)) == 0
    assert (out / "report.json").read_text() == reference[0]


def test_one_answer_of_prose_is_repaired(
    server: ModelServer, command: Command, reference: tuple[str, Counter[str]], tmp_path: Path
) -> None:
    server.troubles["write"] = ["prose", ""]
    assert run(command(tmp_path / "out", server.url)) == 0
    report, untroubled = read(tmp_path / "out"), Report.model_validate_json(reference[0])
    assert report.claims == untroubled.claims
    assert server.seen["write"] == 2


@pytest.mark.parametrize("role", ["describe", "diagnose", "judge", "write", "verify", "answer"])
def test_prose_never_becomes_a_word_of_the_report(
    role: str, server: ModelServer, command: Command, tmp_path: Path
) -> None:
    server.troubles[role] = ["prose"]
    out = tmp_path / "out"
    assert run(command(out, server.url)) == 0
    for name in ("report.json", "report.md", "report.html"):
        assert "granular" not in (out / name).read_text().lower(), name
    assert PROSE in (out / "run.json").read_text()
    report = read(out)
    assert any(f"no usable answer to: {role}" in limit for limit in report.limits), report.limits
    assert texts_of_the_model(report) <= words_of(server)
    if role in ("describe", "diagnose"):
        assert report.outcome == "insufficient evidence"
    if role == "verify":
        checked = [c for c in report.claims if c.written_by == "model" and c.evidence]
        assert checked
        assert not [c for c in checked if c.verdict == "supported"]


def texts_of_the_model(report: Report) -> set[str]:
    """What the report says in the model's name, but for the diagnosis, which code words from its parts."""
    claims = {c.text for c in report.claims if c.written_by == "model" and c.section != "diagnosis"}
    return (claims | {e.sentence for e in report.evidence if e.sentence}) - {"insufficient evidence"}


def words_of(server: ModelServer) -> set[str]:
    """Every string in what the server answered, on one line."""
    return {" ".join(text.split()) for said in server.said for text in strings(json.loads(said))}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
