"""Distances between sets of images on an encoder's features: Fréchet and kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import Image, SlideEncoder

Floats = NDArray[np.float64]
COMPONENTS: Final = 16
"""Principal components of the training features on which the Fréchet distance is computed."""


def frechet(a: Floats, b: Floats) -> float:
    """Fréchet distance of two Gaussians fitted to [n, d] and [m, d]."""
    from scipy.linalg import sqrtm

    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(first @ second))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def kernel_distance(a: Floats, b: Floats) -> float:
    """Unbiased squared maximum mean discrepancy with the cubic kernel (Bińkowski et al. 2018)."""

    def kernel(x: Floats, y: Floats) -> Floats:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    n, m = len(a), len(b)
    within = (kernel(a, a).sum() - np.trace(kernel(a, a))) / (n * (n - 1))
    within += (kernel(b, b).sum() - np.trace(kernel(b, b))) / (m * (m - 1))
    return float(within - 2 * kernel(a, b).mean())


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
