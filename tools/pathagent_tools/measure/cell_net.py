"""The network of what counts cells: which places of a field hold the centre of a mitosis, or a lymphocyte."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

STRIDE: Final = 4
"""Pixels of the field a side of a place."""
RARE: Final = -4.0
"""Logit of a place before training: what is counted is rare."""


class _Block(nn.Module):
    """Two convolutions around a residual, the first of them dilated: context at the same resolution."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → the same."""
        y: Tensor = self.second(self.act(self.first(self.norm(x))))
        return x + y


class CellNet(nn.Module):
    """RGB fields [B, 3, h, w] in 0..1 → logits [B, h / 4, w / 4]."""

    def __init__(self, *, channels: int = 32, dilations: tuple[int, ...] = (1, 2, 1, 2)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels // 2, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
        )
        self.blocks = nn.Sequential(*(_Block(channels, d) for d in dilations))
        last = nn.Conv2d(channels, 1, 1)
        if last.bias is not None:
            nn.init.constant_(last.bias, RARE)
        self.head = nn.Sequential(nn.BatchNorm2d(channels), nn.SiLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the places; `h` and `w` are multiples of 4."""
        logits: Tensor = self.head(self.blocks(self.stem((x - 0.6) * 4.0)))
        return logits[:, 0]
