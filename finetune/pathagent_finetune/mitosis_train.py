"""Train the mitosis detector on phantom fields whose figures are known one by one.

Half of each batch are windows around a figure, half lie anywhere: lymphocytes, apoptotic bodies, debris
and crush are what it must not count. `pathagent finetune mitoses --out DIR`; the same command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor

from pathagent_finetune.loop import Budget, Metrics, Stage, claim, run
from pathagent_finetune.tilestore import TileSets, TileStore, render_tiles
from pathagent_finetune.vision_batch import augment, turn
from pathagent_finetune.vlm_recipe import recipe_text
from pathagent_tools.core.card import ModelCard, hash_files
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.measure.mitoses import DetectorConfig, MitosisDetector, amount, peaks, save_detector
from pathagent_tools.measure.mitosis_net import STRIDE, MitosisNet
from pathagent_tools.phantom import PHANTOM_VERSION
from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT

REACH_UM: Final = 6.0
"""A peak counts as a figure whose centre is this near."""
THRESHOLDS: Final = tuple(round(float(t), 2) for t in np.arange(0.2, 0.96, 0.05))
FALSE_FIELDS: Final = 0.004
COLOUR: Final = 0.08
Points = NDArray[np.float32]


class MitosisRecipe(Frozen):
    """Everything that decides the detector, but the code."""

    id: str
    version: str
    seed: int = 0
    field_px: int = Field(gt=0, multiple_of=STRIDE)
    window_px: int = Field(gt=0, multiple_of=STRIDE, description="side of what a step sees of a field")
    tiles: TileSets
    shape: DetectorConfig
    batch: int = Field(ge=2)
    budget: Budget


def train(recipe: str | Path, out: Path, *, minutes: float | None = None, tiles: Path | None = None) -> Path:
    """Train by a recipe into `out`; returns `out/model`, a folder that `MitosisDetector.load` opens.

    minutes: stop after so long; a later call goes on. UserError where `out` belongs to another recipe.
    """
    try:
        plan = MitosisRecipe.model_validate(yaml.safe_load(recipe_text(recipe)))
    except (ValidationError, yaml.YAMLError) as error:
        raise UserError(f"Recipe {recipe} cannot be used: {error}") from None
    claim(out, plan.model_dump(mode="json"))
    stores = render_tiles(plan.tiles, tiles or out / "tiles", px=plan.field_px, mpp=plan.shape.mpp)
    torch.manual_seed(plan.seed)
    net = MitosisNet(channels=plan.shape.channels, dilations=plan.shape.dilations)
    work = _Work(plan, net, stores)
    stage = Stage(
        folder=out / "stage-0",
        modules={"net": net},
        loss=work.loss,
        evaluate=work.evaluate,
        keep_best=lambda m: save_detector(
            net,
            plan.shape.model_copy(update={"threshold": m["threshold"], "certain": m["certain"]}),
            out / "model",
        ),
        filters=True,
    )
    until = None if minutes is None else time.monotonic() + 60 * minutes
    if run(stage, plan.budget, until=until):
        _card(plan, out / "model", stores)
    return out / "model"


class _Work:
    """What one step and one evaluation do."""

    def __init__(self, plan: MitosisRecipe, net: MitosisNet, stores: dict[str, TileStore]) -> None:
        self.plan, self.net, self.stores = plan, net, stores
        train = stores["train"]
        self.figures = [train.figures(i) for i in range(len(train))]
        self.places = [(i, x, y) for i, found in enumerate(self.figures) for x, y in found]

    def loss(self, step: int) -> tuple[Tensor, Metrics]:
        """The loss of one batch of windows, drawn from (seed, step)."""
        rng = np.random.default_rng([self.plan.seed, step])
        windows = [self._window(rng, around_figure=i % 2 == 0) for i in range(self.plan.batch)]
        images, turns = augment(np.stack([image for image, _ in windows]), rng, colour=COLOUR)
        heat = [turn(h, *t) for (_, h), t in zip(windows, turns, strict=True)]
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
        loss = focal_loss(self.net(x), torch.from_numpy(np.stack(heat)))
        return loss, {"loss": loss.detach()}

    def _window(
        self, rng: np.random.Generator, *, around_figure: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """(image, target) of a window: with a figure in its inner half, or anywhere."""
        size, field = self.plan.window_px, self.plan.field_px
        if around_figure and self.places:
            tile, x, y = self.places[int(rng.integers(len(self.places)))]
            corner = np.array([x, y]) - size / 2 + rng.uniform(-size / 4, size / 4, 2)
        else:
            tile, corner = int(rng.integers(len(self.figures))), rng.uniform(0, field - size, 2)
        left, top = (int(v) for v in np.clip(corner, 0, field - size))
        image = self.stores["train"].image(tile)[top : top + size, left : left + size]
        inside = self.figures[tile] - np.array([left, top], np.float32)
        inside = inside[((inside >= 0) & (inside < size)).all(1)]
        return image, target(inside, size)

    def evaluate(self) -> Metrics:
        """F1 of figures on validation fields at the threshold where it is largest.

        `certain` is the lowest threshold at which at most `FALSE_FIELDS` of those without figures have one.
        """
        store = self.stores["validation"]
        heat = _heat(self.net, store)
        truth = [store.figures(i) for i in range(len(store))]
        by_threshold = {
            t: detection([peaks(h, t) for h in heat], truth, self.plan.shape.mpp) for t in THRESHOLDS
        }
        best = max(THRESHOLDS, key=lambda t: by_threshold[t]["f1"])
        empty = [h.max() for h, figures in zip(heat, truth, strict=True) if not len(figures)]
        sure = [t for t in THRESHOLDS if np.mean([top >= t for top in empty]) <= FALSE_FIELDS]
        found = {"score": by_threshold[best]["f1"], "threshold": best, "certain": min(sure, default=0.95)}
        return found | by_threshold[best]


def target(figures: Points, px: int) -> NDArray[np.float32]:
    """[px / 4, px / 4]: 1 in the cell of each figure, falling off over a cell around it."""
    cells = px // STRIDE
    heat = np.zeros((cells, cells), np.float32)
    rows, columns = np.mgrid[:cells, :cells]
    for x, y in figures:
        cx, cy = (min(int(v // STRIDE), cells - 1) for v in (x, y))
        near = np.exp(-((columns - cx) ** 2 + (rows - cy) ** 2) / 1.3)
        heat = np.maximum(heat, near)
    return heat.astype(np.float32)


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Cross-entropy of cells that forgives what is near a centre and weighs what is hard, a figure.

    Source: Zhou et al. 2019, Objects as Points (arXiv:1904.07850), equation 1.
    """
    p = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    centre = heat >= 1
    hit = ((1 - p) ** 2 * p.log())[centre].sum()
    miss = ((1 - heat) ** 4 * p**2 * (1 - p).log())[~centre].sum()
    return -(hit + miss) / centre.sum().clamp(min=1)


def _heat(net: Any, store: TileStore) -> list[NDArray[np.float32]]:
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(store), 16):
        images = np.stack([store.image(i) for i in range(start, min(start + 16, len(store)))])
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
        with torch.inference_mode():
            found += list(net(x).sigmoid().numpy())
    return found


def detection(found: Sequence[Points], truth: Sequence[Points], mpp: float) -> dict[str, float]:
    """Precision, recall and F1 of figures: each true one is found by at most one peak, nearest first."""
    right = said = wanted = 0
    for peaks_of_field, figures in zip(found, truth, strict=True):
        said, wanted = said + len(peaks_of_field), wanted + len(figures)
        right += _matched(peaks_of_field[:, :2], figures, REACH_UM / mpp)
    precision, recall = right / max(said, 1), right / max(wanted, 1)
    f1 = 2 * right / max(said + wanted, 1)
    return {
        "f1": round(f1, 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "figures": wanted,
    }


def _matched(found: Points, figures: Points, reach: float) -> int:
    from scipy.optimize import linear_sum_assignment

    if not len(found) or not len(figures):
        return 0
    apart = np.linalg.norm(found[:, None] - figures[None], axis=-1)
    rows, columns = linear_sum_assignment(np.minimum(apart, reach + 1))
    return int((apart[rows, columns] <= reach).sum())


def scores(detector: MitosisDetector, store: TileStore) -> dict[str, Any]:
    """Figures found, and the word of each field, on all fields and on those of held-out scanners."""
    fields = range(len(store))
    field_mm2 = (store.image(0).shape[0] * detector.config.mpp / 1000) ** 2
    found = [detector.find(np.array(store.image(i)), detector.config.mpp) for i in fields]
    truth = [store.figures(i) for i in fields]
    held = {scanner.name for scanner in SCANNERS_HELD_OUT}
    parts = {
        "all": list(fields),
        "held_out_scanners": [i for i in fields if store.truth[i]["scanner"] in held],
    }
    table: dict[str, Any] = {"metric": "figures within 6 µm; none, few or many in a field"}
    for name, keep in parts.items():
        words = [amount(len(truth[i]), field_mm2) for i in keep]
        said = [amount(len(found[i]), field_mm2) for i in keep]
        table[name] = {
            "fields": len(keep),
            **detection([found[i] for i in keep], [truth[i] for i in keep], detector.config.mpp),
            "word_balanced_accuracy": round(balanced_accuracy(words, said).value, 4),
            "word_chance": round(1 / 3, 4),
        }
    return table


def _card(plan: MitosisRecipe, folder: Path, stores: dict[str, TileStore]) -> None:
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
        reproduce="pathagent finetune mitoses --recipe mitoses --out DIR",
        not_for="Real tissue: it knows rendered phantoms only. Never for diagnosis or patient care.",
    )
    card.save(folder)
    table = scores(MitosisDetector.load(folder), stores["test"])
    card.model_copy(update={"scores": table}).save(folder)
