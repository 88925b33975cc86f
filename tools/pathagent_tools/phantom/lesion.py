"""Disease on a plan: where the lesion lies, how large it is, what it does to zones and lymphocytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.layout import Layout, Mask, grid_points, pick, star
from pathagent_tools.phantom.plan import PLAN_CELL_UM

MIN_LESION_MM = 0.2
MIN_INFLAMED_MM = 0.6
"""Inflammation is a finding by its extent: smaller patches are look-alikes that every slide has."""
MAX_SHARE, MAX_INFLAMED_SHARE = 0.6, 0.85
"""Largest lesion as a share of its piece."""
CELL_MM2 = PLAN_CELL_UM**2 * 1e-6


@dataclass(frozen=True)
class Diseased:
    """The plan after disease: zones, lymphocyte density, lesion mask, and its equivalent diameter in mm."""

    zones: NDArray[np.uint8]
    inflammation: NDArray[np.float32]
    mask: Mask
    lesion_mm: float


def add_lesion(
    rng: np.random.Generator, layout: Layout, family: str, grade: int, lesion_mm: float | None
) -> Diseased:
    """Place the lesion of a family and grade on one piece (inflammation: on up to three).

    `lesion_mm` is the diameter of the circle of the same area; None draws it log-uniformly from 0.2 mm
    (inflammation 0.6 mm) to 60 % of the piece (inflammation 85 %). UserError when the piece cannot
    hold it.
    """
    zones, density = layout.zones.copy(), layout.inflammation.copy()
    mask = np.zeros(zones.shape, bool)
    if family == "no significant abnormality":
        return Diseased(zones, density, mask, 0.0)
    inflamed = family == "chronic inflammation"
    pieces = _hosts(rng, layout, family, 3 if inflamed else 1)
    for piece in pieces:
        mask |= _blob(rng, piece, _area_mm2(rng, piece, lesion_mm, inflamed))
    if inflamed:
        _inflame(rng, zones, density, mask, grade)
    else:
        _grow(rng, zones, density, mask, family, grade)
    return Diseased(zones, density, mask, 2.0 * math.sqrt(float(mask.sum()) * CELL_MM2 / math.pi))


def _hosts(rng: np.random.Generator, layout: Layout, family: str, most: int) -> list[Mask]:
    """Pieces that carry the lesion; adenoma and inflammation want mucosa."""
    wants_mucosa = family in ("adenoma", "chronic inflammation")
    fit = [p for p in layout.pieces if not wants_mucosa or (layout.zones[p] == k.MUCOSA).mean() > 0.1]
    fit = fit or list(layout.pieces)
    areas = np.array([p.sum() for p in fit], float)
    count = 1 if most == 1 else int(rng.integers(1, min(most, len(fit)) + 1))
    order = rng.choice(len(fit), size=count, replace=False, p=areas / areas.sum())
    return [fit[int(i)] for i in order]


def _area_mm2(rng: np.random.Generator, piece: Mask, lesion_mm: float | None, inflamed: bool) -> float:
    share = MAX_INFLAMED_SHARE if inflamed else MAX_SHARE
    most = share * float(piece.sum()) * CELL_MM2
    largest = 2.0 * math.sqrt(most / math.pi)
    if lesion_mm is None:
        least = MIN_INFLAMED_MM if inflamed else MIN_LESION_MM
        least = min(least, largest)
        lesion_mm = math.exp(rng.uniform(math.log(least), math.log(largest)))
    elif not 0.05 <= lesion_mm <= largest * 1.2:
        raise UserError(
            f"lesion_mm {lesion_mm:g} does not fit: this phantom's piece holds 0.05 to {largest:.2f} mm. "
            "Give a smaller lesion_mm or a larger size."
        )
    return math.pi * lesion_mm**2 / 4


def _blob(rng: np.random.Generator, piece: Mask, area_mm2: float) -> Mask:
    """A lobed region of the given area inside a piece, away from its edge where there is room."""
    from scipy.ndimage import distance_transform_edt

    room = distance_transform_edt(piece)
    want = min(0.8 * float(room.max()), 0.6 * math.sqrt(area_mm2 / CELL_MM2 / math.pi))
    place = pick(rng, room >= want)
    if place is None:
        raise ValueError("a tissue piece of the plan is empty")
    xs, ys = grid_points(piece.shape[0])
    distance = np.where(piece & (room > 2), star(rng, xs, ys, *place, 0.22), np.inf)
    cells = min(max(4, round(area_mm2 / CELL_MM2)), int(np.isfinite(distance).sum()))
    radius = np.partition(distance.ravel(), cells - 1)[cells - 1]
    return np.asarray(distance <= radius)


def _grow(
    rng: np.random.Generator,
    zones: NDArray[np.uint8],
    density: NDArray[np.float32],
    mask: Mask,
    family: str,
    grade: int,
) -> None:
    """Neoplasia: its zone, necrosis with the grade, a rim of lymphocytes. In place."""
    from scipy.ndimage import distance_transform_edt

    zones[mask] = k.LESION_ZONES[family]
    rim = distance_transform_edt(~mask) * PLAN_CELL_UM
    response = float(rng.choice([0.0, 900.0, 2600.0], p=[0.45, 0.35, 0.2]))
    density += (response * np.exp(-((rim / 60.0) ** 2))).astype(np.float32) * (zones != k.GLASS)
    diameter_um = 2000.0 * math.sqrt(float(mask.sum()) * CELL_MM2 / math.pi)
    dies = family in ("solid carcinoma", "adenocarcinoma") and rng.random() < (0.0, 0.35, 0.8)[grade - 1]
    if dies and diameter_um > 350:
        depth = distance_transform_edt(mask) * PLAN_CELL_UM
        place = pick(rng, depth > 0.45 * depth.max())
        if place is not None:
            xs, ys = grid_points(zones.shape[0])
            radius = diameter_um * rng.uniform(0.12, 0.2)
            zones[(star(rng, xs, ys, *place, 0.3) < radius) & (depth > 25.0)] = k.NECROSIS


def _inflame(
    rng: np.random.Generator, zones: NDArray[np.uint8], density: NDArray[np.float32], mask: Mask, grade: int
) -> None:
    """Chronic inflammation: lymphocytes throughout, follicles when marked, reactive glands. In place."""
    from scipy.ndimage import gaussian_filter

    soft = gaussian_filter(mask.astype(np.float32), 3.0)
    level = rng.uniform(2200, 3300) if grade == 1 else rng.uniform(7500, 11500)
    np.maximum(density, soft * level, out=density)
    xs, ys = grid_points(zones.shape[0])
    glands = mask & (zones == k.MUCOSA)
    if rng.random() < 0.6:
        zones[glands] = k.REACTIVE
    if grade < 2:
        return
    for _ in range(max(2, int(mask.sum() * CELL_MM2 / 0.12))):
        place = pick(rng, mask)
        if place is not None:
            inside = star(rng, xs, ys, *place, 0.15) < rng.uniform(55, 130)
            zones[inside & mask & (zones != k.GLASS)] = k.LYMPHOID
