"""Train what counts cells of one kind, on phantom fields whose cells are known one by one.

The kinds differ in what they learn from the places (`learn`), in how a field is judged (`evaluate`,
`scores`) and in which windows a step draws. `pathagent finetune mitoses | lymphocytes --out DIR`; the same
command goes on.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor

from pathagent_finetune.loop import Budget, Metrics, Stage, claim, run
from pathagent_finetune.tilestore import Cells, TileSets, TileStore, render_tiles
from pathagent_finetune.vision_batch import augment, turn
from pathagent_finetune.vlm_recipe import recipe_text
from pathagent_tools.core.card import ModelCard, hash_files
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.measure.cell_model import CellConfig, CellModel
from pathagent_tools.measure.cell_net import STRIDE, CellNet
from pathagent_tools.phantom import PHANTOM_VERSION
from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT

COLOUR: Final = 0.08
AT_ONCE: Final = 16
"""Fields that are judged in one pass."""
Points = NDArray[np.float32]
Map = NDArray[np.float32]


class CellRecipe(Frozen):
    """Everything that decides the model, but the code."""

    id: str
    version: str
    seed: int = 0
    field_px: int = Field(gt=0, multiple_of=STRIDE)
    window_px: int = Field(gt=0, multiple_of=STRIDE, description="side of what a step sees of a field")
    tiles: TileSets
    shape: CellConfig
    batch: int = Field(ge=2)
    budget: Budget


class CellTask(ABC):
    """One kind of cell: what one step and one evaluation do."""

    recipe: ClassVar[type[CellRecipe]] = CellRecipe
    model: ClassVar[type[CellModel]]
    cells: ClassVar[Cells]
    around: ClassVar[int | None] = None
    """Of every so many windows of a batch one lies around a cell; all of them anywhere where None."""
    metric: ClassVar[str]
    """What the scores of the card count, in words."""

    def __init__(self, plan: CellRecipe, net: CellNet, stores: dict[str, TileStore]) -> None:
        self.plan, self.net, self.stores = plan, net, stores
        train = stores["train"]
        self.points = [train.points(i, self.cells) for i in range(len(train))]
        self.places = [(i, x, y) for i, found in enumerate(self.points) for x, y in found]

    @abstractmethod
    def target(self, points: Points, px: int) -> Map:
        """[px / 4, px / 4]: what the network is to say of a window with cells at these (x, y) px."""

    @abstractmethod
    def learn(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of logits [B, h, w] beside targets."""

    @abstractmethod
    def evaluate(self) -> Metrics:
        """How good the network is on validation fields; `score` is what the best is chosen by."""

    def config(self, metrics: Metrics) -> CellConfig:
        """What ships beside weights that scored so."""
        return self.plan.shape

    @staticmethod
    @abstractmethod
    def scores(model: Any, store: TileStore, keep: Sequence[int]) -> dict[str, Any]:
        """The scores of a finished model on these fields of a store, for its card."""

    def loss(self, step: int) -> tuple[Tensor, Metrics]:
        """The loss of one batch of windows, drawn from (seed, step)."""
        rng = np.random.default_rng([self.plan.seed, step])
        near = [self.around is not None and i % self.around == 0 for i in range(self.plan.batch)]
        windows = [self._window(rng, around_cell=n) for n in near]
        images, turns = augment(np.stack([image for image, _ in windows]), rng, colour=COLOUR)
        wanted = [turn(w, *t) for (_, w), t in zip(windows, turns, strict=True)]
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
        loss = self.learn(self.net(x), torch.from_numpy(np.stack(wanted)))
        return loss, {"loss": loss.detach()}

    def _window(self, rng: np.random.Generator, *, around_cell: bool) -> tuple[NDArray[np.uint8], Map]:
        """(image, target) of a window: with a cell in its inner half, or anywhere."""
        size, field = self.plan.window_px, self.plan.field_px
        if around_cell and self.places:
            tile, x, y = self.places[int(rng.integers(len(self.places)))]
            corner = np.array([x, y]) - size / 2 + rng.uniform(-size / 4, size / 4, 2)
        else:
            tile, corner = int(rng.integers(len(self.points))), rng.uniform(0, field - size, 2)
        left, top = (int(v) for v in np.clip(corner, 0, field - size))
        image = self.stores["train"].image(tile)[top : top + size, left : left + size]
        inside = self.points[tile] - np.array([left, top], np.float32)
        inside = inside[((inside >= 0) & (inside < size)).all(1)]
        return image, self.target(inside, size)

    def logits(self, store: TileStore) -> list[Map]:
        """[h, w] of each field of a store."""
        found: list[Map] = []
        for start in range(0, len(store), AT_ONCE):
            images = np.stack([store.image(i) for i in range(start, min(start + AT_ONCE, len(store)))])
            x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
            with torch.inference_mode():
                found += list(self.net(x).numpy())
        return found


def train_cells(
    task: type[CellTask],
    recipe: str | Path,
    out: Path,
    *,
    minutes: float | None = None,
    tiles: Path | None = None,
) -> Path:
    """Train by a recipe into `out`; returns `out/model`, a folder that `task.model.load` opens.

    minutes: stop after so long; a later call goes on. UserError where `out` belongs to another recipe.
    """
    try:
        plan = task.recipe.model_validate(yaml.safe_load(recipe_text(recipe)))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"Recipe {recipe} cannot be used: {error}") from None
    claim(out, plan.model_dump(mode="json"))
    stores = render_tiles(plan.tiles, tiles or out / "tiles", px=plan.field_px, mpp=plan.shape.mpp)
    torch.manual_seed(plan.seed)
    net = CellNet(channels=plan.shape.channels, dilations=plan.shape.dilations)
    work = task(plan, net, stores)
    stage = Stage(
        folder=out / "stage-0",
        modules={"net": net},
        loss=work.loss,
        evaluate=work.evaluate,
        keep_best=lambda m: task.model.save(net, work.config(m), out / "model"),
    )
    until = None if minutes is None else time.monotonic() + 60 * minutes
    if run(stage, plan.budget, until=until):
        _card(task, plan, out / "model", stores)
    return out / "model"


def _card(task: type[CellTask], plan: CellRecipe, folder: Path, stores: dict[str, TileStore]) -> None:
    card = ModelCard(
        id=plan.id,
        version=plan.version,
        kind="detector",
        files=hash_files(folder),
        trained_on={
            "recipe": plan.model_dump(mode="json"),
            "phantom_version": PHANTOM_VERSION,
            "tiles": {name: store.digest for name, store in stores.items()},
            "real_tissue": "none",
        },
        licence_weights="Apache-2.0",
        licence_data="Apache-2.0 (rendered by this project)",
        tile_px=plan.field_px,
        tile_mpp=plan.shape.mpp,
        scores={},
        reproduce=f"pathagent finetune {task.model.command} --recipe {task.model.command} --out DIR",
        not_for="Real tissue: it knows rendered phantoms only. Never for diagnosis or patient care.",
    )
    card.save(folder)
    model, test = task.model.load(folder), stores["test"]
    held = {scanner.name for scanner in SCANNERS_HELD_OUT}
    parts = {
        "all": list(range(len(test))),
        "held_out_scanners": [i for i in range(len(test)) if test.truth[i]["scanner"] in held],
    }
    table = {name: {"fields": len(keep), **task.scores(model, test, keep)} for name, keep in parts.items()}
    card.model_copy(update={"scores": {"metric": task.metric, **table}}).save(folder)
