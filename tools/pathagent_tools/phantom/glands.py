"""Glands: round crypts of the mucosa, crowded glands of adenoma, irregular glands of carcinoma."""

from __future__ import annotations

import math

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.lookup import Params, voronoi
from pathagent_tools.phantom.noise import hash_cell, kernel, part, smooth, value
from pathagent_tools.phantom.warp import W_LESION_X, W_LESION_Y, W_MUCOSA_X, W_MUCOSA_Y, Nodes, bend


@kernel
def mucosa_gland(
    x: float, y: float, par: Params, key: int, nodes: Nodes, ix0: int, iy0: int
) -> tuple[float, float, float, float, int]:
    """Round crypts: (depth inside the gland, centre x, centre y, wall radius, hash); depth < 0 outside."""
    wx = x + bend(nodes, ix0, iy0, x, y, W_MUCOSA_X)
    wy = y + bend(nodes, ix0, iy0, x, y, W_MUCOSA_Y)
    c, s = math.cos(par[k.P_MUCOSA_ANGLE]), math.sin(par[k.P_MUCOSA_ANGLE])
    stretch = par[k.P_MUCOSA_STRETCH]
    u, v = (c * wx + s * wy) / stretch, -s * wx + c * wy
    cu, cv, d, border, bits = voronoi(u, v, 94.0, 0.42, key + 13)
    radius = 33.0 + 11.0 * part(bits, 2)
    if part(bits, 3) < 0.05:
        return -1e3, 0.0, 0.0, radius, bits
    cx, cy = c * cu * stretch - s * cv, s * cu * stretch + c * cv
    return min(radius - d, border - 3.0), cx, cy, radius, bits


@kernel
def lesion_gland(
    x: float, y: float, zone: int, par: Params, key: int, nodes: Nodes, ix0: int, iy0: int
) -> tuple[float, float, float, float]:
    """Crowded or irregular glands: (depth, centre x, centre y, epithelial thickness); depth < 0 outside."""
    grade = par[k.P_GRADE]
    size = par[k.P_GLAND_UM]
    if zone == k.ADENOMA:
        wx = x + 20.0 * bend(nodes, ix0, iy0, x, y, W_LESION_X)
        wy = y + 20.0 * bend(nodes, ix0, iy0, x, y, W_LESION_Y)
        c, s = math.cos(par[k.P_MUCOSA_ANGLE]), math.sin(par[k.P_MUCOSA_ANGLE])
        u, v = (c * wx + s * wy) / 1.5, -s * wx + c * wy
        cu, cv, _, border, bits = voronoi(u, v, size * 0.86, 0.6, key + 23)
        thick = 21.0 if grade < 1.5 else 24.0
        cx, cy = c * cu * 1.5 - s * cv, s * cu * 1.5 + c * cv
        return border - 2.5 - 2.0 * part(bits, 2), cx, cy, thick + 3.0 * part(bits, 3)
    wx = x + 46.0 * bend(nodes, ix0, iy0, x, y, W_LESION_X)
    wy = y + 46.0 * bend(nodes, ix0, iy0, x, y, W_LESION_Y)
    cx, cy, d, border, bits = voronoi(wx, wy, size, 0.85, key + 33)
    if part(bits, 2) < 0.12:
        return -1e3, 0.0, 0.0, 0.0
    radius = size * (0.34 + 0.26 * part(bits, 3))
    depth = min(radius - d, border - 2.0 - 9.0 * part(bits, 2))
    thick = 13.0 + 3.0 * grade
    return depth, cx, cy, thick


@kernel
def goblet(
    x: float, y: float, cx: float, cy: float, depth: float, radius: float, bits: int, rate: float
) -> bool:
    """Whether the point lies in a mucin vacuole of a benign gland."""
    if depth < 8.5 or depth > 28.0:
        return False
    angle = math.atan2(y - cy, x - cx)
    n = max(5, int(radius * 0.36))
    turn = angle / (2.0 * math.pi) * n + part(bits, 0) + n
    slot = math.floor(turn) % n
    h = hash_cell(slot, 7, bits)
    if part(h, 0) > rate:
        return False
    across = (turn - math.floor(turn) - 0.5) / n * 2.0 * math.pi * max(radius - depth, 4.0)
    along = depth - 17.5 - 3.0 * (part(h, 1) - 0.5)
    half = 6.6 + 2.8 * part(h, 2)
    return (along / half) ** 2 + (across / (4.3 + 1.9 * part(h, 3))) ** 2 < 1.0


@kernel
def benign_point(
    x: float, y: float, depth: float, cx: float, cy: float, radius: float, bits: int, reactive: bool
) -> tuple[int, int]:
    """(kind, class) inside a benign gland."""
    lumen = 25.0 + 3.0 * part(bits, 0) + 6.0 * (value(x / 7.0, y / 7.0, 5) - 0.5)
    if depth > lumen:
        return k.K_LUMEN, k.C_BENIGN_LUMEN
    if goblet(x, y, cx, cy, depth, radius, bits, 0.3 if reactive else 0.72):
        return k.K_GOBLET, k.C_BENIGN
    return (k.K_REACTIVE if reactive else k.K_BENIGN), k.C_BENIGN


@kernel
def lesion_gland_point(
    x: float, y: float, zone: int, depth: float, thick: float, par: Params, key: int
) -> tuple[int, int]:
    """(kind, class) inside a dysplastic or malignant gland."""
    grade = par[k.P_GRADE]
    if zone == k.ADENOMA:
        wobble = (value(x / 6.0, y / 6.0, key + 24) - 0.5) * 6.0
        hole = grade > 1.5 and depth > 10.0 and smooth(x / 17.0, y / 17.0, key + 25) > 0.66
        if depth + wobble > thick or hole:
            return k.K_LUMEN, k.C_DYSPLASTIC_LUMEN
        return k.K_DYSPLASTIC, k.C_DYSPLASTIC
    wobble = (smooth(x / 14.0, y / 14.0, key + 34) - 0.5) * 20.0
    hole = grade > 1.5 and depth > 7.0 and smooth(x / 15.0, y / 15.0, key + 35) > 0.66
    if depth + wobble > thick or hole:
        return k.K_LUMEN, k.C_TUMOUR_LUMEN
    return k.K_GLAND_TUMOUR, k.C_TUMOUR
