"""Features on which sets of images are compared: an encoder's, and their first components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import Image, SlideEncoder

Floats = NDArray[np.float64]
COMPONENTS: Final = 16
"""Principal components of the training features on which the Fréchet distance is computed."""


def features_of(encoder: SlideEncoder, images: Sequence[Image]) -> Floats:
    """[n, D] of unit length times √D, so that the cubic kernel sees numbers of order one."""
    from pathagent_tools.encoders.reading import unit

    found = unit(encoder.encode_tiles(np.stack(images))).astype(np.float64)
    return np.asarray(found * np.sqrt(found.shape[1]))


def axes_of(features: Floats) -> tuple[Floats, Floats]:
    """(mean, first components [D, COMPONENTS]) of the training features."""
    mean = features.mean(0)
    _, _, rows = np.linalg.svd(features - mean, full_matrices=False)
    return mean, np.asarray(rows[:COMPONENTS].T)
