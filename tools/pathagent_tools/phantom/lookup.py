"""Coarse grids read at a point, Voronoi cells, and the wavy fibre field."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.noise import hash_cell, kernel, part
from pathagent_tools.phantom.warp import W_FIBRE, Nodes, bend

Grid = NDArray[np.uint8]
Field = NDArray[np.float32]
Params = NDArray[np.float64]


@kernel
def zone_at(grid: Grid, cell_um: float, ox: float, oy: float, x: float, y: float) -> int:
    """Zone of the plan at (x, y); glass outside the plan."""
    i, j = math.floor((y - oy) / cell_um), math.floor((x - ox) / cell_um)
    if i < 0 or j < 0 or i >= grid.shape[0] or j >= grid.shape[1]:
        return 0
    return int(grid[i, j])


@kernel
def zone_between(grid: Grid, cell_um: float, ox: float, oy: float, x: float, y: float) -> int:
    """Zone with the largest bilinear weight at (x, y): borders run straight through cells, without stairs."""
    u, v = (x - ox) / cell_um - 0.5, (y - oy) / cell_um - 0.5
    j, i = math.floor(u), math.floor(v)
    if i < 0 or j < 0 or i + 1 >= grid.shape[0] or j + 1 >= grid.shape[1]:
        return zone_at(grid, cell_um, ox, oy, x, y)
    z0, z1, z2, z3 = grid[i, j], grid[i, j + 1], grid[i + 1, j], grid[i + 1, j + 1]
    if z0 == z1 and z0 == z2 and z0 == z3:
        return int(z0)
    a, b = u - j, v - i
    w0, w1, w2, w3 = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
    best, zone = -1.0, int(z0)
    for z in (z0, z1, z2, z3):
        w = 0.0
        if z == z0:
            w += w0
        if z == z1:
            w += w1
        if z == z2:
            w += w2
        if z == z3:
            w += w3
        if w > best:
            best, zone = w, int(z)
    return zone


@kernel
def field_at(field: Field, cell_um: float, ox: float, oy: float, x: float, y: float) -> float:
    """Bilinear value of a coarse field at (x, y), clamped at the edges."""
    u, v = (x - ox) / cell_um - 0.5, (y - oy) / cell_um - 0.5
    h, w = field.shape
    u, v = min(max(u, 0.0), w - 1.001), min(max(v, 0.0), h - 1.001)
    j, i = int(u), int(v)
    a, b = u - j, v - i
    top = field[i, j] * (1.0 - a) + field[i, j + 1] * a
    bottom = field[i + 1, j] * (1.0 - a) + field[i + 1, j + 1] * a
    return float(top * (1.0 - b) + bottom * b)


@kernel
def voronoi(
    x: float, y: float, size: float, jitter: float, key: int
) -> tuple[float, float, float, float, int]:
    """Nearest jittered lattice point: (its x, its y, distance, distance to the cell border, its hash)."""
    bx, by = math.floor(x / size), math.floor(y / size)
    d1, d2 = 1e18, 1e18
    x1 = y1 = x2 = y2 = 0.0
    bits = hash_cell(bx, by, key)
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            h = hash_cell(bx + dx, by + dy, key)
            px = (bx + dx + 0.5 + jitter * (part(h, 0) - 0.5)) * size
            py = (by + dy + 0.5 + jitter * (part(h, 1) - 0.5)) * size
            d = (px - x) * (px - x) + (py - y) * (py - y)
            if d < d1:
                d2, x2, y2 = d1, x1, y1
                d1, x1, y1, bits = d, px, py, h
            elif d < d2:
                d2, x2, y2 = d, px, py
    gap = math.sqrt((x1 - x2) * (x1 - x2) + (y1 - y2) * (y1 - y2))
    return x1, y1, math.sqrt(d1), (d2 - d1) / (2.0 * gap + 1e-9), bits


@kernel
def fibre(x: float, y: float, par: Params, nodes: Nodes, ix0: int, iy0: int) -> tuple[float, float]:
    """Coordinates (along, across) of the wavy fibre field, in µm."""
    c, s = math.cos(par[k.P_ANGLE]), math.sin(par[k.P_ANGLE])
    across = -s * x + c * y
    return c * x + s * y, across + bend(nodes, ix0, iy0, x, y, W_FIBRE)


@kernel
def fibre_angle(x: float, y: float, par: Params, nodes: Nodes, ix0: int, iy0: int) -> float:
    """Direction of the fibres at (x, y), radians."""
    _, t0 = fibre(x, y, par, nodes, ix0, iy0)
    _, tx = fibre(x + 2.0, y, par, nodes, ix0, iy0)
    _, ty = fibre(x, y + 2.0, par, nodes, ix0, iy0)
    return math.atan2(-(tx - t0), ty - t0)
