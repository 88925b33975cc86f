"""LoRA in two processes on the CPU: the same adapter as in one, one writer, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_bases import save, write_recipe, write_tiles

from pathagent_finetune.lora_train import train
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError

pytestmark = pytest.mark.slow

STEPS = 12


def launch(recipe: Path, data: Path, out: Path) -> subprocess.Popen[str]:
    """The documented line, in a process group of its own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [
        "-m",
        "pathagent",
        "finetune",
        "vlm",
        "--recipe",
        str(recipe),
        "--data",
        str(data),
        "-o",
        str(out),
    ]
    return subprocess.Popen(
        [*launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def steps(out: Path) -> list[int]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if "loss" in row]


def assert_same(first: Path, second: Path) -> None:
    weights = [load_file(folder / "adapter_model.safetensors") for folder in (first, second)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-4, rtol=1e-3)
    losses = [ModelCard.load(folder).scores["validation_loss"] for folder in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_two_processes_learn_what_one_does_with_one_writer_and_go_on_after_a_kill(tmp_path: Path) -> None:
    base, data = save("qwen3-vl", tmp_path / "base"), write_tiles(tmp_path / "tiles", 8)
    changes: dict[str, Any] = {"steps": STEPS, "evaluate_steps": 2, "lr": 1e-3}
    one = train(write_recipe(tmp_path / "1.yaml", base, batch=4, **changes), data, tmp_path / "one")
    recipe = write_recipe(tmp_path / "2.yaml", base, batch=2, **changes)  # a batch is that of one process

    two = tmp_path / "two"
    running = launch(recipe, data, two)
    said, _ = running.communicate(timeout=900)
    assert running.returncode == 0
    assert said.split() == [str(two)]
    assert_same(one, two)  # the same examples in each step, or the weights would differ
    assert steps(two) == steps(one) == list(range(1, STEPS + 1))
    assert ModelCard.load(two).trained_on["processes"] == 2
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())

    killed = tmp_path / "killed"
    running = launch(recipe, data, killed)
    while not (killed / "checkpoints/checkpoint-2/trainer_state.json").is_file():
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert not (killed / "card.json").exists()
    with pytest.raises(UserError, match="another number of processes"):
        train(recipe, data, killed)
    running = launch(recipe, data, killed)
    running.communicate(timeout=900)
    assert running.returncode == 0
    assert steps(killed) == list(range(1, STEPS + 1))
    assert_same(one, killed)
