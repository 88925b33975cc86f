"""What stands at a point of a world: the class field, in µm, one pure function of place and seed.

`classify` is called once per pixel by the painter and once per candidate by the nucleus generator, so a
nucleus of a gland always sits in the epithelium that the painter draws.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.noise import hash_cell, kernel, part, ramp, smooth, value
from pathagent_tools.phantom.warp import (
    W_FIBRE,
    W_LESION_X,
    W_LESION_Y,
    W_MUCOSA_X,
    W_MUCOSA_Y,
    W_ZONE_X,
    W_ZONE_Y,
    Nodes,
    bend,
)

Grid = NDArray[np.uint8]
Field = NDArray[np.float32]
Params = NDArray[np.float64]

MUCOSA_REACH, LESION_REACH = 1, 2
"""Bits of the reach grid: a gland-bearing zone lies within `REACH_UM`."""
REACH_UM = 64.0


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


@kernel
def solid_depth(x: float, y: float, sd: float, par: Params, key: int) -> float:
    """Approximate depth (µm) inside a solid nest; negative in the stroma between. Nests thin out at the rim."""
    n = par[k.P_NEST_UM]
    f = 0.72 * smooth(x / n, y / n, key + 41) + 0.28 * smooth(x * 2.7 / n, y * 2.7 / n, key + 42)
    return (f - 0.43 - 0.22 * ramp(45.0, 0.0, sd)) * n * 1.6


@kernel
def file_depth(x: float, y: float, par: Params, key: int, nodes: Nodes, ix0: int, iy0: int) -> float:
    """Depth (µm) inside a single file of cells; negative outside."""
    s, t = fibre(x, y, par, nodes, ix0, iy0)
    period = 21.0
    row = math.floor(t / period)
    h = hash_cell(int(row), 3, key + 51)
    centre = (row + 0.5 + 0.3 * (part(h, 0) - 0.5)) * period
    on = value(s / 75.0 + 50.0 * part(h, 1), row * 7.13, key + 52)
    half = 4.4 + 1.1 * par[k.P_GRADE]
    return half - abs(t - centre) if on > 0.36 else -5.0


@kernel
def mucin_point(
    x: float, y: float, key: int, clusters: float, nodes: Nodes, ix0: int, iy0: int
) -> tuple[int, int, float]:
    """(kind, class, depth) in mucinous carcinoma: pools, septa, floating clusters, lining strips."""
    wx = x + 38.0 * bend(nodes, ix0, iy0, x, y, W_LESION_X)
    wy = y + 38.0 * bend(nodes, ix0, iy0, x, y, W_LESION_Y)
    _, _, _, border, bits = voronoi(wx, wy, 150.0, 0.8, key + 63)
    pool = border - 5.0 - 9.0 * part(bits, 2)
    if pool < 0:
        return k.K_DESMOPLASTIC, k.C_STROMA, pool
    if pool < 11.0 and smooth(x / 60.0, y / 60.0, key + 64) < 0.5 * clusters:
        return k.K_CLUSTER, k.C_TUMOUR, pool
    cx, cy, d, _, cell = voronoi(wx, wy, 54.0, 0.7, key + 65)
    if part(cell, 2) < 1.3 * clusters * smooth(cx / 170.0, cy / 170.0, key + 67):
        rim = (value(x / 9.0, y / 9.0, key + 66) - 0.5) * 9.0
        depth = 9.5 + 10.0 * part(cell, 3) + rim - d
        if depth > 0 and pool > 6.0:
            return k.K_CLUSTER, k.C_TUMOUR, depth
    return k.K_MUCIN, k.C_MUCIN, pool


@kernel
def vessel(x: float, y: float, key: int) -> tuple[float, float]:
    """(radial position, inner share): 0 at the centre, 1 at the outer wall; > 1 outside every vessel."""
    size = 230.0
    bx, by = math.floor(x / size), math.floor(y / size)
    h = hash_cell(bx, by, key + 71)
    if part(h, 0) > 0.55:
        return 9.0, 0.5
    g = hash_cell(bx, by, key + 72)
    radius = 11.0 + 34.0 * part(h, 1) * part(h, 1)
    dx = x - (bx + 0.5 + 0.5 * (part(h, 2) - 0.5)) * size
    dy = y - (by + 0.5 + 0.5 * (part(h, 3) - 0.5)) * size
    a = math.pi * part(g, 0)
    u, v = dx * math.cos(a) + dy * math.sin(a), -dx * math.sin(a) + dy * math.cos(a)
    v *= 1.0 + 0.9 * part(g, 1)
    wobble = 1.0 + 0.16 * (value(x / 13.0, y / 13.0, key + 73) - 0.5)
    return math.sqrt(u * u + v * v) / radius * wobble, 0.62 + 0.2 * part(g, 2)


@kernel
def ground(zone: int, x: float, y: float, key: int) -> tuple[int, int]:
    """(kind, class) of the tissue between structures of a zone."""
    if zone == k.MUCOSA or zone == k.REACTIVE or zone == k.ADENOMA:
        return k.K_PROPRIA, k.C_STROMA
    if zone == k.ADENOCARCINOMA or zone == k.SOLID or zone == k.POORLY_COHESIVE or zone == k.MUCINOUS:
        return k.K_DESMOPLASTIC, k.C_STROMA
    if zone == k.ADIPOSE:
        return k.K_ADIPOSE, k.C_ADIPOSE
    if zone == k.MUSCLE:
        return k.K_MUSCLE, k.C_MUSCLE
    if zone == k.LYMPHOID:
        return k.K_LYMPHOID, k.C_LYMPHOID
    if zone == k.NECROSIS:
        return k.K_NECROSIS, k.C_NECROSIS
    return k.K_STROMA, k.C_STROMA


@kernel
def classify(
    x: float,
    y: float,
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
) -> tuple[int, int, float, float, float]:
    """(kind, class, depth µm, centre x, centre y) of the structure at (x, y) µm."""
    wx = x + bend(nodes, ix0, iy0, x, y, W_ZONE_X)
    wy = y + bend(nodes, ix0, iy0, x, y, W_ZONE_Y)
    zone = zone_between(zones, cell_um, ox, oy, wx, wy)
    if zone == k.GLASS:
        return k.K_GLASS, k.C_BACKGROUND, 0.0, 0.0, 0.0
    if zone == k.NECROSIS:
        return k.K_NECROSIS, k.C_NECROSIS, 1.0, 0.0, 0.0
    near = zone_at(reach, cell_um, ox, oy, x, y)
    if near & LESION_REACH:
        z = zone if zone == k.ADENOMA or zone == k.ADENOCARCINOMA else int(par[k.P_LESION_ON])
        depth, cx, cy, thick = lesion_gland(x, y, z, par, key, nodes, ix0, iy0)
        if depth > -2.5 and zone_at(zones, cell_um, ox, oy, cx, cy) == z:
            if depth > 0.0:
                kind, label = lesion_gland_point(x, y, z, depth, thick, par, key)
                return kind, label, depth, cx, cy
            if z == k.ADENOCARCINOMA and smooth(x / 30.0, y / 30.0, key + 36) > 0.62:
                return k.K_CLEFT, k.C_STROMA, depth, cx, cy
    if near & MUCOSA_REACH and (zone < k.ADENOMA):
        depth, cx, cy, radius, bits = mucosa_gland(x, y, par, key, nodes, ix0, iy0)
        if depth > 0.0:
            home = zone_at(zones, cell_um, ox, oy, cx, cy)
            if home == k.MUCOSA or home == k.REACTIVE:
                kind, label = benign_point(x, y, depth, cx, cy, radius, bits, home == k.REACTIVE)
                return kind, label, depth, cx, cy
    if zone == k.SOLID:
        rim = field_at(sd, cell_um, ox, oy, wx, wy)
        depth = solid_depth(x, y, rim, par, key)
        if depth > 0.0:
            if par[k.P_GRADE] > 2.5 and depth > 24.0:
                return k.K_NECROSIS, k.C_NECROSIS, depth, 0.0, 0.0
            return k.K_SOLID, k.C_TUMOUR, depth, 0.0, 0.0
        if depth > -2.2 and smooth(x / 34.0, y / 34.0, key + 43) > 0.6:
            return k.K_CLEFT, k.C_STROMA, depth, 0.0, 0.0
    elif zone == k.POORLY_COHESIVE:
        depth = file_depth(x, y, par, key, nodes, ix0, iy0)
        if depth > 0.0:
            return k.K_FILE, k.C_TUMOUR, depth, 0.0, 0.0
    elif zone == k.MUCINOUS:
        kind, label, depth = mucin_point(x, y, key, par[k.P_CLUSTERS], nodes, ix0, iy0)
        return kind, label, depth, 0.0, 0.0
    elif zone == k.STROMA or zone == k.ADIPOSE or zone == k.MUSCLE:
        rho, inner = vessel(x, y, key)
        if rho < 1.0:
            if rho < inner:
                return k.K_BLOOD, k.C_VESSEL, inner - rho, 0.0, 0.0
            return k.K_WALL, k.C_STROMA, 1.0 - rho, 0.0, 0.0
    kind, label = ground(zone, x, y, key)
    return kind, label, 0.0, 0.0, 0.0
