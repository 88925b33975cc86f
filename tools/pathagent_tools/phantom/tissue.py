"""What stands at a point of a world: the class field, in µm, one pure function of place and seed.

`classify` is called once per pixel by the painter and once per candidate by the nucleus generator, so a
nucleus of a gland always sits in the epithelium that the painter draws.
"""

from __future__ import annotations

import math

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.glands import benign_point, lesion_gland, lesion_gland_point, mucosa_gland
from pathagent_tools.phantom.lookup import (
    Field,
    Grid,
    Params,
    fibre,
    field_at,
    voronoi,
    zone_at,
    zone_between,
)
from pathagent_tools.phantom.noise import hash_cell, kernel, part, ramp, smooth, value
from pathagent_tools.phantom.warp import W_LESION_X, W_LESION_Y, W_ZONE_X, W_ZONE_Y, Nodes, bend

MUCOSA_REACH, LESION_REACH = 1, 2
"""Bits of the reach grid: a gland-bearing zone lies within `REACH_UM`."""
REACH_UM = 64.0
NOTHING = -1
"""Kind of a point that a kernel leaves to the next one."""


@kernel
def solid_depth(x: float, y: float, sd: float, par: Params, key: int) -> float:
    """Approximate depth (µm) inside a solid nest; negative between. Nests thin out at the rim."""
    n = par[k.P_NEST_UM]
    f = 0.72 * smooth(x / n, y / n, key + 41) + 0.28 * smooth(x * 2.7 / n, y * 2.7 / n, key + 42)
    return float((f - 0.43 - 0.22 * ramp(45.0, 0.0, sd)) * n * 1.6)


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
def in_lesion_gland(
    x: float,
    y: float,
    zone: int,
    zones: Grid,
    cell_um: float,
    ox: float,
    oy: float,
    par: Params,
    key: int,
    nodes: Nodes,
    ix0: int,
    iy0: int,
) -> tuple[int, int, float, float, float]:
    """What `classify` gives in a gland of a lesion and in the cleft around it; `NOTHING` elsewhere."""
    z = zone if zone == k.ADENOMA or zone == k.ADENOCARCINOMA else int(par[k.P_LESION_ON])
    depth, cx, cy, thick = lesion_gland(x, y, z, par, key, nodes, ix0, iy0)
    if depth > -2.5 and zone_at(zones, cell_um, ox, oy, cx, cy) == z:
        if depth > 0.0:
            kind, label = lesion_gland_point(x, y, z, depth, thick, par, key)
            return kind, label, depth, cx, cy
        if z == k.ADENOCARCINOMA and smooth(x / 30.0, y / 30.0, key + 36) > 0.62:
            return k.K_CLEFT, k.C_STROMA, depth, cx, cy
    return NOTHING, k.C_BACKGROUND, 0.0, 0.0, 0.0


@kernel
def in_mucosa_gland(
    x: float,
    y: float,
    zones: Grid,
    cell_um: float,
    ox: float,
    oy: float,
    par: Params,
    key: int,
    nodes: Nodes,
    ix0: int,
    iy0: int,
) -> tuple[int, int, float, float, float]:
    """What `classify` gives in a normal or reactive gland; `NOTHING` elsewhere."""
    depth, cx, cy, radius, bits = mucosa_gland(x, y, par, key, nodes, ix0, iy0)
    if depth > 0.0:
        home = zone_at(zones, cell_um, ox, oy, cx, cy)
        if home == k.MUCOSA or home == k.REACTIVE:
            kind, label = benign_point(x, y, depth, cx, cy, radius, bits, home == k.REACTIVE)
            return kind, label, depth, cx, cy
    return NOTHING, k.C_BACKGROUND, 0.0, 0.0, 0.0


@kernel
def beside_glands(
    x: float, y: float, zone: int, rim: float, par: Params, key: int, nodes: Nodes, ix0: int, iy0: int
) -> tuple[int, int, float]:
    """(kind, class, depth µm) of nests, files, mucin, vessels or the ground. rim: µm inside the nests."""
    if zone == k.SOLID:
        depth = solid_depth(x, y, rim, par, key)
        if depth > 0.0:
            if par[k.P_GRADE] > 2.5 and depth > 24.0:
                return k.K_NECROSIS, k.C_NECROSIS, depth
            return k.K_SOLID, k.C_TUMOUR, depth
        if depth > -2.2 and smooth(x / 34.0, y / 34.0, key + 43) > 0.6:
            return k.K_CLEFT, k.C_STROMA, depth
    elif zone == k.POORLY_COHESIVE:
        depth = file_depth(x, y, par, key, nodes, ix0, iy0)
        if depth > 0.0:
            return k.K_FILE, k.C_TUMOUR, depth
    elif zone == k.MUCINOUS:
        return mucin_point(x, y, key, par[k.P_CLUSTERS], nodes, ix0, iy0)
    elif zone == k.STROMA or zone == k.ADIPOSE or zone == k.MUSCLE:
        rho, inner = vessel(x, y, key)
        if rho < inner:
            return k.K_BLOOD, k.C_VESSEL, inner - rho
        if rho < 1.0:
            return k.K_WALL, k.C_STROMA, 1.0 - rho
    kind, label = ground(zone, x, y, key)
    return kind, label, 0.0


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
    kind, label, depth, cx, cy = NOTHING, k.C_BACKGROUND, 0.0, 0.0, 0.0
    if near & LESION_REACH:
        kind, label, depth, cx, cy = in_lesion_gland(
            x, y, zone, zones, cell_um, ox, oy, par, key, nodes, ix0, iy0
        )
    if kind == NOTHING and near & MUCOSA_REACH and zone < k.ADENOMA:
        kind, label, depth, cx, cy = in_mucosa_gland(x, y, zones, cell_um, ox, oy, par, key, nodes, ix0, iy0)
    if kind == NOTHING:
        rim = field_at(sd, cell_um, ox, oy, wx, wy) if zone == k.SOLID else 0.0
        kind, label, depth = beside_glands(x, y, zone, rim, par, key, nodes, ix0, iy0)
    return kind, label, depth, cx, cy
