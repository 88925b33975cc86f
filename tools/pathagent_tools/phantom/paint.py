"""Dye at a point: haematoxylin, eosin, mucus and haemoglobin concentrations of the ground tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.lookup import Field, Grid, Params, fibre, voronoi, zone_between
from pathagent_tools.phantom.noise import kernel, part, ramp, smooth, value
from pathagent_tools.phantom.tissue import classify
from pathagent_tools.phantom.warp import W_ZONE_X, W_ZONE_Y, Nodes, bend


@kernel
def stroma_dye(
    x: float, y: float, par: Params, key: int, loose: float, nodes: Nodes, ix0: int, iy0: int
) -> tuple[float, float]:
    """(H, E) of collagen: wavy fibres with clefts; `loose` 0 dense … 1 airy."""
    s, t = fibre(x, y, par, nodes, ix0, iy0)
    coarse = value(s / 70.0, t / 9.0, key + 81)
    fine = value(s / 24.0, t / 2.3, key + 82)
    patch = smooth(x / 90.0, y / 90.0, key + 83)
    eosin = 0.20 + 0.26 * coarse + 0.17 * fine + 0.22 * (patch - 0.5)
    gap = ramp(0.33 + 0.14 * loose, 0.14, 0.6 * coarse + 0.4 * fine)
    eosin *= 1.0 - (0.55 + 0.3 * loose) * gap
    return 0.05 + 0.03 * coarse, eosin


@kernel
def muscle_dye(
    x: float, y: float, par: Params, key: int, nodes: Nodes, ix0: int, iy0: int
) -> tuple[float, float]:
    """(H, E) of smooth muscle: fascicles of parallel fibres, some cut across."""
    s, t = fibre(x, y, par, nodes, ix0, iy0)
    _, _, _, border, bits = voronoi(s / 4.5, t, 62.0, 0.8, key + 84)
    if part(bits, 2) < 0.22:
        grain = smooth(x / 4.2, y / 4.2, key + 85)
    else:
        grain = value(s / 45.0, t / 3.4, key + 86)
    eosin = 0.47 + 0.22 * (grain - 0.5) + 0.16 * (part(bits, 3) - 0.5)
    return 0.10, eosin * (0.35 + 0.65 * ramp(0.4, 2.6, border))


@kernel
def necrosis_dye(x: float, y: float, key: int) -> tuple[float, float]:
    """(H, E) of granular necrosis."""
    grain = value(x / 2.1, y / 2.1, key + 87)
    cloud = smooth(x / 18.0, y / 18.0, key + 88)
    return 0.10 + 0.22 * max(0.0, cloud - 0.45) + 0.07 * grain, 0.38 + 0.34 * (grain - 0.5) + 0.2 * (
        cloud - 0.5
    )


@kernel
def mucin_dye(
    x: float, y: float, par: Params, key: int, nodes: Nodes, ix0: int, iy0: int
) -> tuple[float, float, float]:
    """(H, E, mucus) of extracellular mucin: pale streaks."""
    s, t = fibre(x, y, par, nodes, ix0, iy0)
    streak = value(s / 50.0, t / 6.0, key + 89)
    return 0.03, 0.05, 0.05 + 0.22 * streak * smooth(x / 40.0, y / 40.0, key + 90)


@kernel
def dye(
    x: float, y: float, kind: int, par: Params, key: int, nodes: Nodes, ix0: int, iy0: int
) -> tuple[float, float, float, float]:
    """(H, E, mucus, haemoglobin) at a point of the given kind; natural optical density at unit strength."""
    if kind == k.K_GLASS:
        return 0.0, 0.0, 0.0, 0.0
    if kind == k.K_STROMA:
        h, e = stroma_dye(x, y, par, key, 0.25, nodes, ix0, iy0)
        return h, e, 0.0, 0.0
    if kind == k.K_DESMOPLASTIC:
        h, e = stroma_dye(x, y, par, key, 0.45, nodes, ix0, iy0)
        return h + 0.04, e * 0.70, 0.06, 0.0
    if kind == k.K_PROPRIA:
        cloud = smooth(x / 13.0, y / 13.0, key + 91)
        grain = value(x / 3.0, y / 3.0, key + 92)
        return 0.07, 0.07 + 0.40 * ramp(0.3, 0.75, cloud) + 0.10 * grain, 0.0, 0.0
    if kind == k.K_MUSCLE:
        h, e = muscle_dye(x, y, par, key, nodes, ix0, iy0)
        return h, e, 0.0, 0.0
    if kind == k.K_ADIPOSE:
        wx = x + (value(x / 16.0, y / 16.0, key + 93) - 0.5) * 7.0
        _, _, _, border, _ = voronoi(wx, y, 58.0, 0.85, key + 94)
        wall = ramp(1.9, 0.5, border)
        return 0.05 * wall, 0.015 + 0.42 * wall, 0.0, 0.0
    if kind == k.K_LYMPHOID:
        cloud = smooth(x / 11.0, y / 11.0, key + 91)
        return 0.12, 0.10 + 0.26 * cloud, 0.0, 0.0
    if kind == k.K_NECROSIS:
        h, e = necrosis_dye(x, y, key)
        return h, e, 0.0, 0.0
    if kind == k.K_MUCIN:
        h, e, m = mucin_dye(x, y, par, key, nodes, ix0, iy0)
        return h, e, m, 0.0
    grain = value(x / 2.2, y / 2.2, key + 95)
    if kind == k.K_LUMEN:
        wisp = ramp(0.56, 0.8, smooth(x / 9.0, y / 9.0, key + 96))
        return 0.02 * wisp, 0.02 + 0.12 * wisp, 0.04 * wisp, 0.0
    if kind == k.K_CLEFT:
        return 0.01, 0.05, 0.0, 0.0
    if kind == k.K_BLOOD:
        return 0.0, 0.04, 0.0, 0.10 * ramp(0.45, 0.6, smooth(x / 14.0, y / 14.0, key + 97))
    if kind == k.K_WALL:
        return 0.10, 0.50 + 0.2 * (grain - 0.5), 0.0, 0.0
    if kind == k.K_GOBLET:
        return 0.04, 0.03 + 0.03 * grain, 0.05 + 0.05 * grain, 0.0
    cell = smooth(x / 7.0, y / 7.0, key + 98)
    if kind == k.K_BENIGN:
        return 0.14 + 0.06 * cell, 0.30 + 0.16 * (cell - 0.5) + 0.1 * (grain - 0.5), 0.04, 0.0
    if kind == k.K_REACTIVE:
        return 0.19 + 0.06 * cell, 0.33 + 0.16 * (cell - 0.5) + 0.1 * (grain - 0.5), 0.02, 0.0
    if kind == k.K_DYSPLASTIC:
        return 0.30 + 0.1 * cell, 0.30 + 0.16 * (cell - 0.5) + 0.1 * (grain - 0.5), 0.0, 0.0
    return 0.25 + 0.12 * cell, 0.33 + 0.2 * (cell - 0.5) + 0.12 * (grain - 0.5), 0.0, 0.0


@kernel
def paint(
    x0: float,
    y0: float,
    mpp: float,
    width: int,
    height: int,
    zones: Grid,
    reach: Grid,
    sd: Field,
    cell_um: float,
    ox: float,
    oy: float,
    par: Params,
    key: int,
    nodes: Nodes,
    ix0: int,
    iy0: int,
    labels: Grid,
    dyes: NDArray[np.float32],
) -> None:
    """Fill `labels` [height, width] and `dyes` [height, width, 4] for the window at (x0, y0) µm."""
    for i in range(height):
        y = y0 + (i + 0.5) * mpp
        for j in range(width):
            x = x0 + (j + 0.5) * mpp
            kind, label, _, _, _ = classify(
                x, y, zones, reach, sd, cell_um, ox, oy, par, key, nodes, ix0, iy0
            )
            labels[i, j] = label
            h, e, m, r = dye(x, y, kind, par, key, nodes, ix0, iy0)
            dyes[i, j, 0] = h
            dyes[i, j, 1] = max(e, 0.0)
            dyes[i, j, 2] = m
            dyes[i, j, 3] = r


@kernel
def paint_labels(
    x0: float,
    y0: float,
    mpp: float,
    zones: Grid,
    reach: Grid,
    sd: Field,
    cell_um: float,
    ox: float,
    oy: float,
    par: Params,
    key: int,
    nodes: Nodes,
    ix0: int,
    iy0: int,
    labels: Grid,
) -> None:
    """The label half of `paint`, for truth maps."""
    height, width = labels.shape
    for i in range(height):
        y = y0 + (i + 0.5) * mpp
        for j in range(width):
            x = x0 + (j + 0.5) * mpp
            _, label, _, _, _ = classify(x, y, zones, reach, sd, cell_um, ox, oy, par, key, nodes, ix0, iy0)
            labels[i, j] = label


@kernel
def paint_mask(
    x0: float,
    y0: float,
    mpp: float,
    grid: Grid,
    cell_um: float,
    nodes: Nodes,
    ix0: int,
    iy0: int,
    mask: Grid,
) -> None:
    """A plan mask (0/1, origin 0) at pixel resolution, with the same frayed border as the zones."""
    height, width = mask.shape
    for i in range(height):
        y = y0 + (i + 0.5) * mpp
        for j in range(width):
            x = x0 + (j + 0.5) * mpp
            wx = x + bend(nodes, ix0, iy0, x, y, W_ZONE_X)
            wy = y + bend(nodes, ix0, iy0, x, y, W_ZONE_Y)
            mask[i, j] = zone_between(grid, cell_um, 0.0, 0.0, wx, wy)
