"""The coarse plan of a world and what it takes to paint any window of it.

A plan is small: a zone grid at `CELL_UM`, two fields (distance into the lesion, lymphocytes per mm²) and
a vector of numbers. Everything finer is computed from place and key when a window is painted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.cells import CLASS, MITOSIS, Table, X, Y
from pathagent_tools.phantom.lookup import Field, Grid, Params
from pathagent_tools.phantom.nuclei import enumerate_nuclei
from pathagent_tools.phantom.paint import paint, paint_labels, paint_mask
from pathagent_tools.phantom.stamp import stamp
from pathagent_tools.phantom.tissue import LESION_REACH, MUCOSA_REACH, REACH_UM
from pathagent_tools.phantom.warp import window_nodes

PLAN_CELL_UM = 8.0
GLASS_MARGIN_UM = 64.0
"""More than borders bend (23 µm) and nuclei reach (11 µm)."""
MITOSIS_RATE = {
    "adenoma": (0.003, 0.02),
    "carcinoma": (0.0015, 0.018, 0.085),
}
NO_CRUSH: NDArray[np.float64] = np.zeros((0, 5))


@dataclass(frozen=True)
class Plan:
    """Zones [h, w] with origin (ox, oy) µm, lesion depth and lymphocyte density on the same grid.

    `family` and `grade` (1-3, 0 for none) are those of the lesion; `key` seeds every hash.
    """

    zones: Grid
    inflammation: Field
    ox: float
    oy: float
    par: Params
    key: int
    family: str
    grade: int

    @cached_property
    def reach(self) -> Grid:
        """Bit mask: which gland-bearing zones lie within reach of a cell."""
        from scipy.ndimage import maximum_filter

        size = 2 * int(REACH_UM / PLAN_CELL_UM + 1) + 1
        mucosa = (self.zones == k.MUCOSA) | (self.zones == k.REACTIVE)
        glands = (self.zones == k.ADENOMA) | (self.zones == k.ADENOCARCINOMA)
        bits = np.zeros(self.zones.shape, np.uint8)
        for mask, bit in ((mucosa, MUCOSA_REACH), (glands, LESION_REACH)):
            if mask.any():
                bits |= maximum_filter(mask.astype(np.uint8), size) * np.uint8(bit)
        return bits

    @cached_property
    def depth(self) -> Field:
        """Signed distance (µm) into the invasive zones; large where a world has nothing else."""
        from scipy.ndimage import distance_transform_edt

        inside = (self.zones == k.SOLID) | (self.zones == k.NECROSIS)
        if not inside.any() or inside.all():
            return np.full(self.zones.shape, 1000.0 if inside.any() else -1000.0, np.float32)
        inner = distance_transform_edt(inside) - distance_transform_edt(~inside)
        return np.asarray(inner * PLAN_CELL_UM, np.float32)

    def _place(self) -> tuple[Grid, Grid, Field, float, float, float, Params, int]:
        return self.zones, self.reach, self.depth, PLAN_CELL_UM, self.ox, self.oy, self.par, self.key

    def is_glass(self, x: float, y: float, width: float, height: float) -> bool:
        """Whether no tissue lies in the window (µm) or near enough to reach into it."""
        rows, columns = (
            slice(
                max(0, int((start - origin - GLASS_MARGIN_UM) / PLAN_CELL_UM)),
                max(0, int((start + length - origin + GLASS_MARGIN_UM) / PLAN_CELL_UM) + 1),
            )
            for start, length, origin in ((y, height, self.oy), (x, width, self.ox))
        )
        return not self.zones[rows, columns].any()

    def nuclei(self, x: float, y: float, width: float, height: float) -> Table:
        """Nuclei and painted bodies touching the window (µm)."""
        zones, reach, depth, cell, ox, oy, par, key = self._place()
        return enumerate_nuclei(
            x, y, width, height, zones=zones, reach=reach, sd=depth, inflammation=self.inflammation,
            cell_um=cell, ox=ox, oy=oy, par=par, key=key,
        )  # fmt: skip

    def nuclei_inside(self, x: float, y: float, width: float, height: float) -> Table:
        """Only true nuclei whose centre lies in the window (µm)."""
        table = self.nuclei(x, y, width, height)
        true = (table[:, CLASS] < k.N_DEBRIS) & (table[:, CLASS] > 0)
        inside = (
            (table[:, X] >= x) & (table[:, X] < x + width) & (table[:, Y] >= y) & (table[:, Y] < y + height)
        )
        return table[true & inside]

    def labels(self, x: float, y: float, mpp: float, width: int, height: int) -> Grid:
        """Class map [height, width] of the window."""
        out = np.empty((height, width), np.uint8)
        bends = window_nodes(x, y, width * mpp, height * mpp, self.key)
        paint_labels(x, y, mpp, *self._place(), *bends, out)
        return out

    def mask(self, grid: Grid, x: float, y: float, mpp: float, width: int, height: int) -> Grid:
        """A 0/1 mask on the plan's grid (origin 0) as pixels [height, width] of the window."""
        out = np.empty((height, width), np.uint8)
        bends = window_nodes(x, y, width * mpp, height * mpp, self.key)
        paint_mask(x, y, mpp, grid, PLAN_CELL_UM, *bends, out)
        return out

    def dyes(
        self, x: float, y: float, mpp: float, width: int, height: int, crush: NDArray[np.float64] = NO_CRUSH
    ) -> tuple[Grid, NDArray[np.float32]]:
        """(class map [h, w], dye maps [h, w, 4]) of the window, nuclei drawn in."""
        out = np.empty((height, width), np.uint8)
        dyes = np.empty((height, width, 4), np.float32)
        bends = window_nodes(x, y, width * mpp, height * mpp, self.key)
        paint(x, y, mpp, width, height, *self._place(), *bends, out, dyes)
        table = self.nuclei(x, y, width * mpp, height * mpp)
        stamp(table, x, y, mpp, max(1.0, float(self.grade)), crush, dyes)
        return out, dyes


def parameters(rng: np.random.Generator, family: str, grade: int) -> Params:
    """The numbers of a world: fibre direction, gland and nest size, mitotic rate, cellularity."""
    par = np.zeros(k.P_COUNT)
    par[k.P_ANGLE] = rng.uniform(0, np.pi)
    par[k.P_MUCOSA_ANGLE] = rng.uniform(0, np.pi)
    par[k.P_MUCOSA_STRETCH] = 1.0 + 1.1 * rng.uniform() ** 2
    par[k.P_GRADE] = max(1, grade)
    par[k.P_GLAND_UM] = rng.uniform(78, 104)
    par[k.P_NEST_UM] = rng.uniform(62, 105)
    par[k.P_CLUSTERS] = rng.uniform(0.75, 1.15)
    par[k.P_CELLULARITY] = rng.uniform(0.7, 1.3)
    par[k.P_LESION_ON] = k.LESION_ZONES.get(family, 0)
    if family in k.LESION_ZONES:
        rates = MITOSIS_RATE["adenoma" if family == "adenoma" else "carcinoma"]
        par[k.P_MITOSIS_RATE] = rates[grade - 1] * rng.uniform(0.6, 1.5)
    return par


def mitoses(table: Table) -> int:
    """Mitotic figures in a nucleus table."""
    return int((table[:, MITOSIS] > 0).sum())
