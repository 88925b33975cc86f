"""What a step trains on: the same whoever draws it and wherever a run goes on; a device that is not there."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from pathagent_finetune.draws import Draws, training_device
from pathagent_tools.core.errors import UserError


def draw(step: int) -> tuple[int, torch.Tensor]:
    """Who drew, and what."""
    return os.getpid(), torch.from_numpy(np.random.default_rng(step).random(3))


def test_beside_a_gpu_other_processes_draw_the_same_and_a_run_goes_on_at_any_step() -> None:
    ahead, here = Draws(draw, torch.device("cuda")), Draws(draw, torch.device("cpu"))
    for step in (0, 1, 2, 7, 8):
        (drawer, found), (myself, wanted) = ahead(step), here(step)
        assert drawer != os.getpid() == myself
        assert torch.equal(found, wanted)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="'gpu' is no device: use cpu, cuda or cuda:1"):
        training_device("gpu")
    with pytest.raises(UserError, match="This machine has no cuda:99: leave --device out"):
        training_device("cuda:99")
    assert training_device("cpu").type == "cpu"
