"""Where the nuclei are: jittered candidates, accepted by the tissue under them, thinned by a hard core.

A candidate is dropped when a neighbour of higher priority stands closer than their common distance,
whether or not that neighbour survives: the decision needs nothing further away than `MARGIN_UM`, so a
tile and a slide keep the same nuclei.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.glands import lesion_gland
from pathagent_tools.phantom.lookup import Field, Grid, Params, fibre_angle, field_at, voronoi
from pathagent_tools.phantom.noise import hash_cell, kernel, part, smooth
from pathagent_tools.phantom.tissue import classify
from pathagent_tools.phantom.warp import Nodes, window_nodes

CELL_UM = 4.2
MARGIN_UM = 34.0
MAX_RADIUS_UM = 11.0

# Columns of a nucleus table.
X, Y, CLASS, AREA, ASPECT, ANGLE, MITOSIS, SEPARATION, PRIORITY, HASH, PLEOMORPHISM = range(11)
COLUMNS = 11
Table = NDArray[np.float64]


@kernel
def bell(bits: int) -> float:
    """A roughly normal number (mean 0, sd 1) from one hash."""
    return (part(bits, 0) + part(bits, 1) + part(bits, 2) + part(bits, 3) - 2.0) * 1.7320508


@kernel
def put(row: Table, cls: int, area: float, aspect: float, angle: float, separation: float) -> None:
    """Fill the form of a candidate (its place is already there)."""
    row[CLASS], row[AREA], row[ASPECT] = cls, area, aspect
    row[ANGLE], row[SEPARATION] = angle, separation


@kernel
def benign_nucleus(row: Table, kind: int, depth: float, cx: float, cy: float, h: int) -> None:
    """One basal row of columnar nuclei."""
    if depth > 12.0:
        return
    reactive = kind == k.K_REACTIVE
    angle = math.atan2(row[Y] - cy, row[X] - cx)
    basal = 5.2 + (4.0 if reactive else 1.6) * (part(h, 1) - 0.2)
    row[X] += math.cos(angle) * (depth - basal)
    row[Y] += math.sin(angle) * (depth - basal)
    area = 39.0 if reactive else 31.0
    put(row, k.N_BENIGN, area, 1.45 + 0.5 * part(h, 2), angle, 4.7 if reactive else 4.3)
    row[PLEOMORPHISM] = 0.13


@kernel
def gland_nucleus(
    row: Table, kind: int, depth: float, par: Params, key: int, h: int, nodes: Nodes, ix0: int, iy0: int
) -> None:
    """Dysplastic or malignant glands: stratified, then losing their polarity with the grade."""
    grade = par[k.P_GRADE]
    zone = k.ADENOMA if kind == k.K_DYSPLASTIC else k.ADENOCARCINOMA
    x, y = row[X], row[Y]
    d0, _, _, _ = lesion_gland(x, y, zone, par, key, nodes, ix0, iy0)
    dx, _, _, _ = lesion_gland(x + 1.5, y, zone, par, key, nodes, ix0, iy0)
    dy, _, _, _ = lesion_gland(x, y + 1.5, zone, par, key, nodes, ix0, iy0)
    angle = math.atan2(dy - d0, dx - d0)
    if kind == k.K_DYSPLASTIC:
        if grade < 1.5:
            if depth < 16.5 and depth > 2.5:
                put(row, k.N_DYSPLASTIC, 53.0, 2.3, angle + 0.25 * (part(h, 1) - 0.5), 5.4)
                row[PLEOMORPHISM] = 0.16
        elif depth > 3.0:
            put(row, k.N_DYSPLASTIC, 84.0, 1.45, angle + 1.6 * (part(h, 1) - 0.5), 8.6)
            row[PLEOMORPHISM] = 0.26
        return
    if grade < 1.5:
        if depth < 12.0:
            move = 6.5 + 2.5 * (part(h, 2) - 0.5) - depth
            row[X] += math.cos(angle) * move
            row[Y] += math.sin(angle) * move
            put(row, k.N_TUMOUR, 35.0, 1.5, angle, 5.6)
            row[PLEOMORPHISM] = 0.16
    elif grade < 2.5:
        if depth > 3.0 and depth < 16.0:
            put(row, k.N_TUMOUR, 58.0, 1.4, angle + 1.0 * (part(h, 1) - 0.5), 7.0)
            row[PLEOMORPHISM] = 0.23
    elif depth > 3.5:
        put(row, k.N_TUMOUR, 100.0, 1.3, math.pi * part(h, 1), 9.3)
        row[PLEOMORPHISM] = 0.36


@kernel
def sheet_nucleus(
    row: Table, kind: int, depth: float, par: Params, key: int, h: int, nodes: Nodes, ix0: int, iy0: int
) -> None:
    """Solid nests, single files and floating clusters."""
    grade = par[k.P_GRADE]
    step = 0 if grade < 1.5 else (1 if grade < 2.5 else 2)
    area = (36.0, 58.0, 100.0)[step]
    separation = (6.8, 8.1, 10.2)[step]
    row[PLEOMORPHISM] = (0.15, 0.23, 0.36)[step]
    if depth < (2.4, 3.0, 3.8)[step]:
        return
    angle = math.pi * part(h, 1)
    if kind == k.K_FILE:
        angle = fibre_angle(row[X], row[Y], par, nodes, ix0, iy0) + 0.5 * (part(h, 2) - 0.5)
        separation *= 1.06
    elif kind == k.K_CLUSTER:
        separation *= 0.95
    put(row, k.N_TUMOUR, area, 1.25, angle, separation)


@kernel
def ground_nucleus(
    row: Table, kind: int, lymphocytes: float, par: Params, key: int, h: int, nodes: Nodes, ix0: int, iy0: int
) -> None:
    """Stroma, muscle, fat, infiltrate, necrosis, blood."""
    x, y, u = row[X], row[Y], part(h, 1)
    per_cell = CELL_UM * CELL_UM * 1e-6
    if kind == k.K_LYMPHOID:
        lymphocytes = max(lymphocytes, 34000.0)
    if kind == k.K_ADIPOSE:
        _, _, _, border, _ = voronoi(x, y, 58.0, 0.85, key + 94)
        if border < 2.0 and u < 0.05:
            put(row, k.N_ADIPOCYTE, 16.0, 2.6, math.pi * part(h, 2), 8.0)
        elif border < 4.0 and u < 0.05 + 0.6 * lymphocytes * per_cell:
            put(row, k.N_LYMPHOCYTE, 27.0, 1.1, math.pi * part(h, 2), 6.0)
        return
    clump = 2.0 * smooth(x / 30.0, y / 30.0, key + 101)
    chance = lymphocytes * per_cell * clump * clump * 1.25
    if kind == k.K_LYMPHOID:
        chance = lymphocytes * per_cell * (0.7 + 0.3 * clump)
    if kind == k.K_NECROSIS:
        if u < 0.05:
            put(row, k.N_DEBRIS, 3.0 + 12.0 * part(h, 2) ** 2, 1.3, math.pi * part(h, 3), 4.0)
        return
    if kind == k.K_BLOOD:
        if smooth(x / 14.0, y / 14.0, key + 97) > 0.47:
            put(row, k.N_RED_CELL, 30.0, 1.1, math.pi * part(h, 2), 5.4)
        return
    if u < chance:
        big = part(h, 2) < 0.25
        put(
            row,
            k.N_LYMPHOCYTE,
            33.0 if big else 25.0,
            1.3 if big else 1.08,
            math.pi * part(h, 3),
            5.2 if kind == k.K_LYMPHOID else 6.1,
        )
        return
    v = (u - chance) / max(1.0 - chance, 1e-6)
    cellularity = par[k.P_CELLULARITY]
    if kind == k.K_MUSCLE:
        if v < 1350.0 * per_cell:
            put(row, k.N_MUSCLE, 27.0, 4.2, fibre_angle(x, y, par, nodes, ix0, iy0), 9.0)
        return
    if kind == k.K_WALL:
        if v < 0.06:
            put(row, k.N_ENDOTHELIAL, 18.0, 3.0, math.pi * part(h, 2), 7.0)
        return
    density = 750.0 * cellularity
    if kind == k.K_PROPRIA:
        density = 1900.0 * cellularity
    elif kind == k.K_DESMOPLASTIC:
        density = 1300.0 * cellularity
    elif kind == k.K_LYMPHOID:
        density = 500.0
    if v < density * per_cell:
        plump = kind == k.K_DESMOPLASTIC
        turn = 0.5 if kind != k.K_PROPRIA else 2.4
        angle = fibre_angle(x, y, par, nodes, ix0, iy0) + turn * (part(h, 2) - 0.5)
        put(row, k.N_FIBROBLAST, 29.0 if plump else 20.0, 2.4 + 1.6 * part(h, 3), angle, 8.0)
        row[PLEOMORPHISM] = 0.2


@kernel
def propose(
    jx0: int,
    jy0: int,
    zones: Grid,
    reach: Grid,
    sd: Field,
    inflammation: Field,
    cell_um: float,
    ox: float,
    oy: float,
    par: Params,
    key: int,
    nodes: Nodes,
    ix0: int,
    iy0: int,
    table: NDArray[np.float64],
) -> None:
    """Fill table [ny, nx, COLUMNS] with one candidate (or class 0) per lattice cell."""
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            row = table[i, j]
            h = hash_cell(jx0 + j, jy0 + i, key + 201)
            g = hash_cell(jx0 + j, jy0 + i, key + 202)
            x = (jx0 + j + part(h, 0)) * CELL_UM
            y = (jy0 + i + part(g, 0)) * CELL_UM
            row[X], row[Y], row[CLASS], row[MITOSIS], row[PLEOMORPHISM] = x, y, 0.0, 0.0, 0.1
            row[PRIORITY], row[HASH] = part(g, 1) + part(g, 2) * 1e-5, float(h >> np.uint64(12))
            kind, _, depth, cx, cy = classify(
                x, y, zones, reach, sd, cell_um, ox, oy, par, key, nodes, ix0, iy0
            )
            if kind == k.K_BENIGN or kind == k.K_REACTIVE or (kind == k.K_GOBLET and depth < 12.0):
                benign_nucleus(row, kind, depth, cx, cy, h)
            elif kind == k.K_DYSPLASTIC or kind == k.K_GLAND_TUMOUR:
                gland_nucleus(row, kind, depth, par, key, h, nodes, ix0, iy0)
            elif kind == k.K_SOLID or kind == k.K_FILE or kind == k.K_CLUSTER:
                sheet_nucleus(row, kind, depth, par, key, h, nodes, ix0, iy0)
            elif kind != k.K_GLASS and kind != k.K_LUMEN and kind != k.K_MUCIN and kind != k.K_CLEFT:
                lymphocytes = field_at(inflammation, cell_um, ox, oy, x, y)
                ground_nucleus(row, kind, lymphocytes, par, key, h, nodes, ix0, iy0)
            cls = int(row[CLASS])
            if cls == 0:
                continue
            row[AREA] *= math.exp(row[PLEOMORPHISM] * bell(hash_cell(jx0 + j, jy0 + i, key + 203)))
            row[AREA] = min(row[AREA], 330.0)
            if cls == k.N_TUMOUR or cls == k.N_DYSPLASTIC:
                fate = part(hash_cell(jx0 + j, jy0 + i, key + 204), 0)
                if fate < par[k.P_MITOSIS_RATE]:
                    row[MITOSIS], row[SEPARATION] = 1.0, row[SEPARATION] + 2.0
                elif fate > 0.995:
                    row[CLASS], row[AREA], row[ASPECT] = k.N_APOPTOTIC, 13.0, 1.1


@kernel
def thin(table: NDArray[np.float64], keep: NDArray[np.bool_]) -> None:
    """Hard-core thinning of the candidate lattice into `keep` [ny, nx]."""
    ny, nx = keep.shape
    span = 6
    for i in range(ny):
        for j in range(nx):
            row = table[i, j]
            keep[i, j] = row[CLASS] > 0
            if not keep[i, j]:
                continue
            for a in range(max(0, i - span), min(ny, i + span + 1)):
                for b in range(max(0, j - span), min(nx, j + span + 1)):
                    other = table[a, b]
                    if other[CLASS] == 0 or other[PRIORITY] <= row[PRIORITY]:
                        continue
                    dx, dy = other[X] - row[X], other[Y] - row[Y]
                    reach = 0.5 * (other[SEPARATION] + row[SEPARATION])
                    if dx * dx + dy * dy < reach * reach:
                        keep[i, j] = False
                        break
                if not keep[i, j]:
                    break


def enumerate_nuclei(
    x0: float,
    y0: float,
    width_um: float,
    height_um: float,
    *,
    zones: Grid,
    reach: Grid,
    sd: Field,
    inflammation: Field,
    cell_um: float,
    ox: float,
    oy: float,
    par: Params,
    key: int,
) -> Table:
    """Nuclei (and painted bodies) whose shape may touch the window, as a table [n, COLUMNS] in µm."""
    jx0 = math.floor((x0 - MARGIN_UM) / CELL_UM)
    jy0 = math.floor((y0 - MARGIN_UM) / CELL_UM)
    nx = math.ceil((x0 + width_um + MARGIN_UM) / CELL_UM) - jx0
    ny = math.ceil((y0 + height_um + MARGIN_UM) / CELL_UM) - jy0
    table = np.zeros((ny, nx, COLUMNS))
    bends = window_nodes(jx0 * CELL_UM, jy0 * CELL_UM, nx * CELL_UM, ny * CELL_UM, key)
    propose(jx0, jy0, zones, reach, sd, inflammation, cell_um, ox, oy, par, key, *bends, table)
    keep = np.zeros((ny, nx), dtype=np.bool_)
    thin(table, keep)
    kept = table[keep]
    r = MAX_RADIUS_UM
    near = (
        (kept[:, X] > x0 - r)
        & (kept[:, X] < x0 + width_um + r)
        & (kept[:, Y] > y0 - r)
        & (kept[:, Y] < y0 + height_um + r)
    )
    return np.ascontiguousarray(kept[near])
