"""A training stage that is stopped and taken up again ends where an unbroken one ends."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from pathagent_finetune.loop import Budget, Metrics, Stage, optimizers, run
from pathagent_tools.core.errors import UserError


def stage(folder: Path, *, bad_at: int | None = None) -> Stage:
    torch.manual_seed(0)
    blocks = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(6, 6)]), "head": nn.Linear(6, 1)})

    def loss(step: int) -> tuple[torch.Tensor, Metrics]:
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
        y = blocks["head"](torch.relu(blocks["blocks"][0](x)))  # type: ignore[index]
        found = ((y - x.sum(1, keepdim=True)) ** 2).mean()
        return found * (math.nan if step == bad_at else 1.0), {"loss": found.detach()}

    return Stage(folder, {"net": blocks}, loss, lambda: {"score": 1.0}, lambda _: None)


def weights(found: Stage) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in found.modules["net"].parameters()])


BUDGET = Budget(steps=30, lr=0.01)


def test_a_resumed_stage_is_the_unbroken_one(tmp_path: Path) -> None:
    whole = stage(tmp_path / "whole")
    assert run(whole, BUDGET)
    part = stage(tmp_path / "part")
    while not run(part, BUDGET, until=time.monotonic()):  # one step a call
        part = stage(tmp_path / "part")
    assert part.step == 30
    assert torch.equal(weights(part), weights(whole))
    rows = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert rows[-1]["event"] == "evaluation"
    assert rows[0]["loss"] > 0


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    run(stage(tmp_path), BUDGET)
    state = (tmp_path / "state.pt").stat().st_mtime_ns
    again = stage(tmp_path)
    assert run(again, BUDGET)
    assert (tmp_path / "state.pt").stat().st_mtime_ns == state
    assert again.step == 30


def test_a_loss_that_is_no_number_stops_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nan at step 7: lower `lr`"):
        run(stage(tmp_path, bad_at=7), BUDGET)


def test_the_rate_rises_and_falls_with_the_clock() -> None:
    budget = Budget(minutes=10, lr=1.0, warmup=0.1, final=0.0)
    assert budget.rate(budget.progress(5, 30)) == pytest.approx(0.5)
    assert budget.rate(budget.progress(5, 60)) == pytest.approx(1.0)
    assert budget.rate(budget.progress(999, 600)) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="minutes"):
        Budget()


@pytest.mark.parametrize("filters", [False, True])
def test_every_parameter_is_learned_whatever_a_network_is_made_of(filters: bool) -> None:
    convolutions = nn.ModuleDict({"blocks": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))})
    matrices = nn.ModuleDict({"layers": nn.Sequential(nn.Linear(4, 4), nn.Conv2d(4, 4, 1))})
    for modules in ({"net": convolutions}, {"net": convolutions, "tower": matrices}):
        found = optimizers(modules, Budget(steps=1), {}, filters=filters)
        learned = {id(p) for optimizer in found for group in optimizer.param_groups for p in group["params"]}
        assert learned == {id(p) for module in modules.values() for p in module.parameters()}
