"""The embedded generator: small, on a CPU, and acquainted with phantoms only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pathagent_tools.core.card import CARD_NAME, ModelCard
from pathagent_tools.core.files import sha256_file
from pathagent_tools.generators.conditions import Conditions
from pathagent_tools.generators.library import LayoutLibrary
from pathagent_tools.generators.protocol import Images

EARLIEST: Final = 0.02
"""Time that the network is told for what is noisier still: training hardly ever drew such times."""


class EmbeddedGenerator:
    """The network of a folder as an `ImageGenerator`; safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        from pathagent_tools.generators.weights import WEIGHTS, load_network

        self.folder = folder
        self.network = load_network(folder)
        self.library = LayoutLibrary.load(folder)
        self.card = ModelCard.load(folder) if (folder / CARD_NAME).is_file() else None
        self.id = self.card.id if self.card else folder.name
        self.revision = self.card.digest if self.card else sha256_file(folder / WEIGHTS)
        self.px = self.card.tile_px if self.card else 128
        self._lock = threading.Lock()

    def noise(self, seeds: Sequence[int], size: int) -> Any:
        """[n, 3, size, size]."""
        import torch

        return torch.stack(
            [torch.randn(3, size, size, generator=torch.Generator().manual_seed(s)) for s in seeds]
        )

    def encode(self, images: Images) -> Any:
        """Normalised pixels [n, 3, h, w]."""
        import torch

        return self.network.normalise(torch.from_numpy(images.copy()).permute(0, 3, 1, 2))

    def decode(self, x: Any) -> Images:
        """[n, h, w, 3] uint8."""
        return self.network.pixels(x)

    def denoise(self, x: Any, t: float, conditions: Sequence[Conditions]) -> Any:
        """Estimate of the clean images, normalised."""
        import torch

        from pathagent_tools.generators.network import batch_of

        batch = batch_of(conditions, x.shape[-1], self.network.normalise)
        with self._lock, torch.inference_mode():
            return self.network(x, torch.full((len(x),), max(t, EARLIEST)), batch)
