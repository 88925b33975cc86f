"""TRL's trainer as it is used here: no telemetry, no model card of its own, one line of progress.

Imports trl, so it is imported where a training starts.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from pathagent_tools.core.errors import UserError

log = logging.getLogger(__name__)


class StepSampler(Sampler[int]):
    """Random order in which the examples of a step stand by length, so that its batches hold little padding.

    Which examples make up a step is as random as without it, and so is the step's gradient: it is the sum
    over the tokens of the step, however they are cut into batches.
    """

    def __init__(self, lengths: Sequence[Any], *, step: int, seed: int) -> None:
        self._lengths, self._step = lengths, step
        self._order = SeedableRandomSampler(lengths, data_seed=seed)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        order = list(self._order)
        for first in range(0, len(order), self._step):
            yield from sorted(order[first : first + self._step], key=self._lengths.__getitem__)

    def set_epoch(self, epoch: int) -> None:
        """Another order in each epoch, the same again after a resume."""
        self._order.set_epoch(epoch)


class Trainer(SFTTrainer):  # type: ignore[misc]
    """Logs the seconds of training, those before a resume included; tells nobody that it runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._tick = time.monotonic()
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True  # TRL's loss divides by the tokens of the step, not of a batch
        self.remove_callback(PrinterCallback)

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        rows = self.train_dataset if train_dataset is None else train_dataset
        texts = zip(rows["images"], rows["prompt"], rows["completion"], strict=True)
        lengths = [(len(images), len(prompt) + len(completion)) for images, prompt, completion in texts]
        step = self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return StepSampler(lengths, step=step, seed=self.args.data_seed or self.args.seed)

    def _send_telemetry(self) -> None:
        """No."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The card of this project stands beside the adapter instead."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add `seconds` to what is logged."""
        now = time.monotonic()
        earlier = [row["seconds"] for row in self.state.log_history if "seconds" in row]
        logs["seconds"] = (earlier[-1] if earlier else 0.0) + now - self._tick
        self._tick = now
        super().log(logs, start_time)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Stops on a loss that is no number or no longer falls, evaluates the last step, and says where it is.

    Everything that it decides by stands in the trainer's own log, so a resumed training decides alike.
    """

    def __init__(self, checkpoints: Path, *, patience: int | None) -> None:
        self._checkpoints, self._patience = checkpoints, patience
        self._line: Any = None
        self._shown: AbstractContextManager[Any] = nullcontext()
        self._began, self._first_step = time.monotonic(), 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began, self._first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero and sys.stderr.isatty():
            from rich.console import Console

            self._shown = Console(stderr=True, highlight=False).status("training")
            self._line = self._shown.__enter__()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the line off the screen; a training that failed does not reach `on_train_end`."""
        self._shown.__exit__(None, None, None)
        self._shown, self._line = nullcontext(), None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        row = logs or {}
        for name in ("loss", "grad_norm", "eval_loss"):
            if not math.isfinite(row.get(name, 0.0)):
                raise UserError(
                    f"The {name} became {row[name]} at step {state.global_step}: lower `lr` in the recipe "
                    f"and start in a new folder. {self._last_good(state)}"
                )
        if state.is_world_process_zero and ("loss" in row or "eval_loss" in row):
            line = progress_line(state, row, self._left(state))
            log.info(line)
            if self._line is not None:
                self._line.update(line)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        losses = [row["eval_loss"] for row in state.log_history if "eval_loss" in row]
        if self._patience and len(losses) - 1 - losses.index(min(losses)) >= self._patience:
            control.should_training_stop = True

    def _left(self, state: Any) -> float | None:
        done = state.global_step - self._first_step
        each = (time.monotonic() - self._began) / done if done > 0 else None
        return None if each is None else each * (state.max_steps - state.global_step)

    def _last_good(self, state: Any) -> str:
        best = state.best_global_step
        if not best:
            return "No adapter was good enough to keep yet."
        return f"The last good adapter is {self._checkpoints / f'checkpoint-{best}'}."


def progress_line(state: Any, row: dict[str, float], left_s: float | None) -> str:
    """`step 40/200  loss 0.812  2 min left`; `before  validation loss 2.31` at the start."""
    names = {"loss": "loss", "eval_loss": "validation loss"}
    said = "  ".join(f"{name} {row[key]:.4g}" for key, name in names.items() if key in row)
    eta = (
        "" if left_s is None else f"  {left_s / 60:.0f} min left" if left_s > 90 else f"  {left_s:.0f} s left"
    )
    step = f"step {state.global_step}/{state.max_steps}" if state.max_steps else "before"
    return f"{step}  {said}{eta}"
