"""What a step trains on, drawn ahead of it: in the same process on a CPU, by other processes beside a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pathagent_finetune.tilestore import cores
from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
MOST_WORKERS: Final = 12


def training_device(name: str | None) -> torch.device:
    """`cpu`, `cuda`, `cuda:1`; None: a GPU where there is one. UserError where the machine has none such."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"{name!r} is no device: use cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"This machine has no {name}: leave --device out to train on what is there.")
    return device


def device_name(device: torch.device) -> str:
    """What a model's card calls it."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


class Draws(Generic[T]):
    """`draw(step)`, for steps that follow each other.

    What a step gets depends on its number alone, whoever draws it and wherever a stopped run goes on. Beside
    a GPU other processes draw, because one core cannot keep it busy; `draw` must not touch the GPU.
    """

    def __init__(self, draw: Callable[[int], T], device: torch.device) -> None:
        self._draw = draw
        self._workers = 0 if device.type == "cpu" else max(1, min(MOST_WORKERS, cores() - 2))
        self._ahead: Iterator[T] | None = None
        self._next = -1

    def __call__(self, step: int) -> T:
        """What this step trains on."""
        if not self._workers:
            return self._draw(step)
        if self._ahead is None or step != self._next:
            self._ahead = self._from(step)
        self._next = step + 1
        return next(self._ahead)

    def _from(self, step: int) -> Iterator[T]:
        from torch.utils.data import DataLoader

        return iter(
            DataLoader(
                _Steps(self._draw),  # type: ignore[arg-type]
                batch_size=None,
                sampler=range(step, sys.maxsize),
                num_workers=self._workers,
                prefetch_factor=4,
                multiprocessing_context="fork",  # the drawing function and its memory maps, without a copy
            )
        )


class _Steps(Generic[T]):
    """A torch dataset: the item of a step."""

    def __init__(self, draw: Callable[[int], T]) -> None:
        self._draw = draw

    def __getitem__(self, step: int) -> T:
        return self._draw(step)
