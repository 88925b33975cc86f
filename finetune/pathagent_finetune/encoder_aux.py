"""Helper tasks that teach the image tower faster than captions alone. All but the tissue map are dropped.

Slots of the findings and numbers of the nuclei from the embedding; the tissue of each small cell of the
tile, known exactly from the phantom's label map, from two inner stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pathagent_finetune.captions import TileFacts
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.encoders.tissue_map import TissueHead

STAGES: Final = (1, 2)
"""Inner stages whose every position names its tissue: 8 and 16 px of the tile a side for a MobileNet."""

TISSUES: Final = (
    "background", "adipose", "stroma", "smooth muscle", "benign epithelium", "dysplastic epithelium",
    "invasive tumour", "lymphoid infiltrate", "necrosis", "mucin",
    "benign epithelium", "dysplastic epithelium", "invasive tumour", "stroma",
)  # fmt: skip
"""The phantom's labels in the words of the tissue slot: lumina are of their epithelium, vessels of stroma."""

LABELS: Final = len(TISSUES)
NUMBERS: Final = ("nuclei", "area_um2", "pleomorphism", "mitoses")


class HelperTasks(nn.Module):
    """Heads on a timm trunk with `blocks`; `watch` must be called once before the first forward pass."""

    def __init__(self, dim: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.slots = nn.ModuleDict({slot: nn.Linear(dim, len(values)) for slot, values in SLOTS.items()})
        self.numbers = nn.Linear(dim, len(NUMBERS))
        self.cells = nn.ModuleList(nn.Conv2d(width, LABELS, 1) for width in widths)
        self._seen: dict[int, Tensor] = {}

    def watch(self, trunk: Any) -> None:
        """Keep the output of the inner stages of each forward pass."""
        for stage in STAGES:
            trunk.blocks[stage].register_forward_hook(self._keeper(stage))

    def _keeper(self, stage: int) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._seen[stage] = output

        return keep

    def forward(
        self, embedded: Tensor, facts: TileFacts, numbers: Tensor, cells: list[Tensor]
    ) -> dict[str, Tensor]:
        """Losses by name: embedded [B, D], numbers [B, 4] standardised, cells [B, n, n, 14] area shares."""
        slots = []
        for position, slot in enumerate(SLOTS):
            target = torch.from_numpy(np.log2(facts.slots[:, position]).astype(np.int64)).to(embedded.device)
            slots.append(nn.functional.cross_entropy(self.slots[slot](embedded), target))
        dense = [
            -(shares.permute(0, 3, 1, 2) * head(self._seen[stage].float()).log_softmax(1)).sum(1).mean()
            for stage, head, shares in zip(STAGES, self.cells, cells, strict=True)
        ]
        return {
            "slots": torch.stack(slots).mean(),
            "numbers": nn.functional.smooth_l1_loss(self.numbers(embedded), numbers),
            "cells": torch.stack(dense).mean(),
        }


def tissue_head(helpers: HelperTasks) -> TissueHead:
    """The head of the later stage, 16 µm a cell: twice as right as that of the earlier one."""
    parameters = helpers.cells[-1].state_dict()
    weight, bias = parameters["weight"][:, :, 0, 0].cpu().numpy(), parameters["bias"].cpu().numpy()
    return TissueHead(weight, bias, STAGES[-1], TISSUES)


def stage_shapes(trunk: Any, tile_px: int) -> list[tuple[int, int]]:
    """(channels, side) of each watched stage for a tile of `tile_px`."""
    shapes: list[tuple[int, int]] = []
    with torch.no_grad():
        x = trunk.bn1(trunk.conv_stem(torch.zeros(1, 3, tile_px, tile_px)))
        for block in trunk.blocks[: max(STAGES) + 1]:
            x = block(x)
            shapes.append((x.shape[1], x.shape[2]))
    return [shapes[stage] for stage in STAGES]


def cell_shares(labels: Tensor, side: int) -> Tensor:
    """Label maps [N, px, px] → [N, side, side, 14] float 0..1: area share of each label in each cell."""
    step = labels.shape[1] // side
    whole = labels[:, : side * step, : side * step]
    shares = [nn.functional.avg_pool2d((whole == k).float()[:, None], step)[:, 0] for k in range(LABELS)]
    return torch.stack(shares, -1)


def true_shares(labels: Sequence[NDArray[np.uint8]], side: int, names: Sequence[str]) -> NDArray[np.float32]:
    """Label maps [N][px, px] → [N, side, side, K] 0..1: what a map of the tissues `names` should say."""
    shares = cell_shares(torch.from_numpy(np.stack(labels)), side).numpy()
    return np.stack([shares[..., [i for i, t in enumerate(TISSUES) if t == n]].sum(-1) for n in names], -1)


def soft_dice(said: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """2 × overlap over the sum of both areas, of shares 0..1 in the same cells; NaN where both are empty."""
    total = float(said.sum() + true.sum())
    return 2 * float(np.minimum(said, true).sum()) / total if total else float("nan")


def nuclear_numbers(store: TileStore) -> NDArray[np.float32]:
    """[N, 4]: standardised logarithms of nuclei, their area, pleomorphism and mitoses."""
    rows = np.array([[float(t.get(name, 0.0)) for name in NUMBERS] for t in store.truth], np.float32)
    logs = np.log1p(rows)
    return np.asarray((logs - logs.mean(0)) / (logs.std(0) + 1e-3), np.float32)
