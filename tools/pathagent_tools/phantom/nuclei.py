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
from pathagent_tools.phantom.cells import (
    AREA,
    ASPECT,
    CELL_UM,
    CLASS,
    COLUMNS,
    HASH,
    MITOSIS,
    PLEOMORPHISM,
    PRIORITY,
    SEPARATION,
    Table,
    X,
    Y,
    benign_nucleus,
    gland_nucleus,
    ground_nucleus,
    sheet_nucleus,
)
from pathagent_tools.phantom.lookup import Field, Grid, Params, field_at
from pathagent_tools.phantom.noise import hash_cell, kernel, part
from pathagent_tools.phantom.tissue import classify
from pathagent_tools.phantom.warp import Nodes, window_nodes

MARGIN_UM = 34.0
MAX_RADIUS_UM = 11.0


@kernel
def bell(bits: int) -> float:
    """A roughly normal number (mean 0, sd 1) from one hash."""
    return (part(bits, 0) + part(bits, 1) + part(bits, 2) + part(bits, 3) - 2.0) * 1.7320508


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
