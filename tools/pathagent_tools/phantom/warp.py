"""The slow bends of a world, kept on a 4 µm lattice that is tied to the world's origin.

Zone borders, fibres and gland outlines are displaced by long waves. A window computes the waves at its
lattice nodes once and reads them bilinearly: four fifths of the noise of a pixel for the price of a few
multiplications. Nodes depend on place and key only, so two windows agree wherever they overlap.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom.noise import kernel, turned, value

NODE_UM = 4.0
W_ZONE_X, W_ZONE_Y, W_FIBRE, W_MUCOSA_X, W_MUCOSA_Y, W_LESION_X, W_LESION_Y = range(7)
CHANNELS = 7
Nodes = NDArray[np.float64]


@kernel
def fill_nodes(ix0: int, iy0: int, key: int, nodes: Nodes) -> None:
    """Displacements (µm; the lesion channels −0.5..0.5) at the lattice nodes of a window."""
    for i in range(nodes.shape[0]):
        for j in range(nodes.shape[1]):
            x, y = (ix0 + j) * NODE_UM, (iy0 + i) * NODE_UM
            row = nodes[i, j]
            row[W_ZONE_X] = (turned(x / 66.0, y / 66.0, key + 3) - 0.5) * 36.0
            row[W_ZONE_Y] = (turned(y / 66.0, x / 66.0, key + 4) - 0.5) * 36.0
            row[W_ZONE_X] += (turned(x / 17.0, y / 17.0, key + 5) - 0.5) * 9.0
            row[W_ZONE_Y] += (turned(y / 17.0, x / 17.0, key + 6) - 0.5) * 9.0
            row[W_FIBRE] = (turned(x / 170.0, y / 170.0, key + 1) - 0.5) * 120.0
            row[W_FIBRE] += (turned(y / 46.0, x / 46.0, key + 2) - 0.5) * 13.0
            row[W_MUCOSA_X] = (value(x / 27.0, y / 27.0, key + 11) - 0.5) * 9.0
            row[W_MUCOSA_Y] = (value(x / 27.0, y / 27.0, key + 12) - 0.5) * 9.0
            row[W_LESION_X] = turned(x / 46.0, y / 46.0, key + 31) - 0.5
            row[W_LESION_Y] = turned(y / 46.0, x / 46.0, key + 32) - 0.5


@kernel
def bend(nodes: Nodes, ix0: int, iy0: int, x: float, y: float, channel: int) -> float:
    """Bilinear displacement of one channel at (x, y) µm."""
    u, v = x / NODE_UM - ix0, y / NODE_UM - iy0
    j, i = int(u), int(v)
    a, b = u - j, v - i
    top = nodes[i, j, channel] * (1.0 - a) + nodes[i, j + 1, channel] * a
    bottom = nodes[i + 1, j, channel] * (1.0 - a) + nodes[i + 1, j + 1, channel] * a
    return float(top * (1.0 - b) + bottom * b)


def window_nodes(x: float, y: float, width: float, height: float, key: int) -> tuple[Nodes, int, int]:
    """(nodes, ix0, iy0) that serve every point of a window in µm, with a rim of 3 µm."""
    ix0, iy0 = math.floor((x - 3.0) / NODE_UM), math.floor((y - 3.0) / NODE_UM)
    nx = math.ceil((x + width + 3.0) / NODE_UM) - ix0 + 2
    ny = math.ceil((y + height + 3.0) / NODE_UM) - iy0 + 2
    nodes = np.empty((ny, nx, CHANNELS))
    fill_nodes(ix0, iy0, key, nodes)
    return nodes, ix0, iy0
