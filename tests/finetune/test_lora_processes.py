"""LoRA in two processes on the CPU: the same adapter as in one, one writer, and going on after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import seen_in_training
from tiny_bases import save, write_recipe, write_tiles

from pathagent_finetune.lora_batch import Collator
from pathagent_finetune.lora_train import train
from pathagent_finetune.splits import split
from pathagent_finetune.user_corpus import read_corpus
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STEPS, PATIENTS = 12, 11


def launch(recipe: Path, data: Path, out: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The command line in two processes, to its end; `more` is added to their environment."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["finetune", "vlm", "--recipe", str(recipe), "--data", str(data), "-o", str(out)]
    return subprocess.run(
        [*launcher, str(Path(__file__).with_name("seen_in_training.py")), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | more,
        check=False,
    )


def seen(out: Path, tuned_on: set[str]) -> list[list[str]]:
    """The training examples of each batch, over all processes; those of evaluations are left out."""
    parts = [path.read_text().splitlines() for path in sorted(out.parent.glob(f"{out.name}.seen.*"))]
    batches = [" ".join(row).split() for row in zip(*parts, strict=False)]
    return [sorted(batch) for batch in batches if set(batch) <= tuned_on]


def steps(out: Path) -> list[int]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if "loss" in row]


def test_two_processes_learn_what_one_does_with_one_writer_and_go_on_after_a_kill(tmp_path: Path) -> None:
    base, data = save("qwen3-vl", tmp_path / "base"), write_tiles(tmp_path / "tiles", PATIENTS)
    changes: dict[str, Any] = {"steps": STEPS, "evaluate_steps": 2, "lr": 1e-3}
    first = write_recipe(tmp_path / "1.yaml", base, batch=4, **changes)
    recipe = write_recipe(tmp_path / "2.yaml", base, batch=2, **changes)  # a batch is that of one process
    corpus = split(read_corpus(data, mpp=1), share=0.3, seed=1)
    tuned_on = {image.stem for e in corpus.of("train") for image in e.images}
    assert len(tuned_on) % 4 == 0

    one, two = tmp_path / "one", tmp_path / "two"
    alone = ["finetune", "vlm", "--recipe", str(first), "--data", str(data), "-o", str(one)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collator, "__call__", Collator.__call__)  # put back what the record wraps
        assert seen_in_training.main(alone) == 0
    whole = seen(one, tuned_on)

    killed = launch(recipe, data, two, DIE_WHEN=str(two / "checkpoints/checkpoint-2/trainer_state.json"))
    assert killed.returncode != 0
    assert not (two / "card.json").exists()
    begun = seen(two, tuned_on)
    assert begun == whole[: len(begun)] and len(begun) >= 2
    with pytest.raises(UserError, match="another number of processes"):
        train(recipe, data, two)

    for record in tmp_path.glob("two.seen.*"):
        record.unlink()
    done = launch(recipe, data, two)
    assert done.returncode == 0
    assert done.stdout.split() == [str(two)]
    rest = seen(two, tuned_on)[-4:]
    assert rest == whole[-4:]
    assert steps(two) == steps(one) == list(range(1, STEPS + 1))
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())
    cards = [ModelCard.load(folder) for folder in (one, two)]
    assert [card.trained_on["processes"] for card in cards] == [1, 2]
    losses = [card.scores["validation_loss"] for card in cards]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
