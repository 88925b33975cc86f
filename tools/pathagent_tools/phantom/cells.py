"""What a candidate nucleus becomes in each tissue: class, size, shape, direction, distance to its neighbours.

A nucleus is a row of a table; a kernel that leaves its class at 0 puts no nucleus there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.glands import lesion_gland
from pathagent_tools.phantom.lookup import Params, fibre_angle, voronoi
from pathagent_tools.phantom.noise import kernel, part, smooth
from pathagent_tools.phantom.warp import Nodes

CELL_UM = 4.2
"""Side of the lattice cell that one candidate has for itself."""
PER_CELL = CELL_UM * CELL_UM * 1e-6
"""A density per mm² times this is the chance of one candidate."""

# Columns of a nucleus table.
X, Y, CLASS, AREA, ASPECT, ANGLE, MITOSIS, SEPARATION, PRIORITY, HASH, PLEOMORPHISM = range(11)
COLUMNS = 11
Table = NDArray[np.float64]


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
def fat_nucleus(row: Table, lymphocytes: float, key: int, h: int) -> None:
    """Adipocytes and lymphocytes squeezed between the vacuoles."""
    u = part(h, 1)
    _, _, _, border, _ = voronoi(row[X], row[Y], 58.0, 0.85, key + 94)
    if border < 2.0 and u < 0.05:
        put(row, k.N_ADIPOCYTE, 16.0, 2.6, math.pi * part(h, 2), 8.0)
    elif border < 4.0 and u < 0.05 + 0.6 * lymphocytes * PER_CELL:
        put(row, k.N_LYMPHOCYTE, 27.0, 1.1, math.pi * part(h, 2), 6.0)


@kernel
def infiltrate(x: float, y: float, kind: int, lymphocytes: float, key: int) -> float:
    """Chance that a candidate is a lymphocyte: they come in clumps, and densely in lymphoid tissue."""
    clump = 2.0 * smooth(x / 30.0, y / 30.0, key + 101)
    if kind == k.K_LYMPHOID:
        return max(lymphocytes, 34000.0) * PER_CELL * (0.7 + 0.3 * clump)
    return lymphocytes * PER_CELL * clump * clump * 1.25


@kernel
def lymphocyte(row: Table, kind: int, h: int) -> None:
    """A small round cell; a quarter are larger and less round."""
    big = part(h, 2) < 0.25
    area, aspect = (33.0, 1.3) if big else (25.0, 1.08)
    separation = 5.2 if kind == k.K_LYMPHOID else 6.1
    put(row, k.N_LYMPHOCYTE, area, aspect, math.pi * part(h, 3), separation)


@kernel
def spindle_nucleus(
    row: Table, kind: int, v: float, par: Params, h: int, nodes: Nodes, ix0: int, iy0: int
) -> None:
    """Muscle cells, endothelium and fibroblasts, as dense as their tissue has them; `v` uniform in [0, 1)."""
    x, y = row[X], row[Y]
    if kind == k.K_MUSCLE:
        if v < 1350.0 * PER_CELL:
            put(row, k.N_MUSCLE, 27.0, 4.2, fibre_angle(x, y, par, nodes, ix0, iy0), 9.0)
        return
    if kind == k.K_WALL:
        if v < 0.06:
            put(row, k.N_ENDOTHELIAL, 18.0, 3.0, math.pi * part(h, 2), 7.0)
        return
    cellularity = par[k.P_CELLULARITY]
    density = 750.0 * cellularity
    if kind == k.K_PROPRIA:
        density = 1900.0 * cellularity
    elif kind == k.K_DESMOPLASTIC:
        density = 1300.0 * cellularity
    elif kind == k.K_LYMPHOID:
        density = 500.0
    if v < density * PER_CELL:
        plump = kind == k.K_DESMOPLASTIC
        turn = 0.5 if kind != k.K_PROPRIA else 2.4
        angle = fibre_angle(x, y, par, nodes, ix0, iy0) + turn * (part(h, 2) - 0.5)
        put(row, k.N_FIBROBLAST, 29.0 if plump else 20.0, 2.4 + 1.6 * part(h, 3), angle, 8.0)
        row[PLEOMORPHISM] = 0.2


@kernel
def ground_nucleus(
    row: Table, kind: int, lymphocytes: float, par: Params, key: int, h: int, nodes: Nodes, ix0: int, iy0: int
) -> None:
    """Stroma, muscle, fat, infiltrate, necrosis, blood; `lymphocytes` per mm²."""
    u = part(h, 1)
    if kind == k.K_ADIPOSE:
        fat_nucleus(row, lymphocytes, key, h)
    elif kind == k.K_NECROSIS:
        if u < 0.05:
            put(row, k.N_DEBRIS, 3.0 + 12.0 * part(h, 2) ** 2, 1.3, math.pi * part(h, 3), 4.0)
    elif kind == k.K_BLOOD:
        if smooth(row[X] / 14.0, row[Y] / 14.0, key + 97) > 0.47:
            put(row, k.N_RED_CELL, 30.0, 1.1, math.pi * part(h, 2), 5.4)
    else:
        chance = infiltrate(row[X], row[Y], kind, lymphocytes, key)
        if u < chance:
            lymphocyte(row, kind, h)
        else:
            spindle_nucleus(row, kind, (u - chance) / max(1.0 - chance, 1e-6), par, h, nodes, ix0, iy0)
