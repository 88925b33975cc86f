"""What every task asks of a generator: one call, `denoise(x, t, conditions)`.

Images live in the generator's own space between `encode` and `decode`: normalised pixels for the embedded
one, latents for a pipeline with a variational autoencoder. Time runs from 0 (noise) to 1 (image):
x_t = t · x + (1 - t) · noise, whatever schedule a pipeline was trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.card import ModelCard
from pathagent_tools.generators.conditions import Conditions

Images = NDArray[np.uint8]
"""RGB, uint8, [n, height, width, 3]."""


@runtime_checkable
class ImageGenerator(Protocol):
    """A diffusion model behind one call. `px`: side of the fields it was trained on."""

    id: str
    revision: str
    px: int
    card: ModelCard | None

    def noise(self, seeds: Sequence[int], size: int) -> Any:
        """Starting noise of images of `size` px, one a seed; the same seed gives the same noise."""
        ...

    def encode(self, images: Images) -> Any:
        """Pixels into the generator's space."""
        ...

    def decode(self, x: Any) -> Images:
        """The generator's space into pixels."""
        ...

    def denoise(self, x: Any, t: float, conditions: Sequence[Conditions]) -> Any:
        """The estimate of the clean images in x_t, one request an image.

        UserError where a request asks for what this generator cannot do.
        """
        ...
