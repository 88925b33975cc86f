"""The plan of a slide before disease: tissue pieces, their layers, look-alikes, resting lymphocytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.plan import PLAN_CELL_UM

Mask = NDArray[np.bool_]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Patch:
    """A named place on the plan: kind, centre and radius in µm."""

    kind: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Layout:
    """Zones and lymphocyte density [n, n] at `PLAN_CELL_UM`, one mask a piece, and the look-alikes."""

    zones: NDArray[np.uint8]
    inflammation: NDArray[np.float32]
    pieces: tuple[Mask, ...]
    look_alikes: tuple[Patch, ...]


def grid_points(n: int) -> tuple[Float, Float]:
    """Centres (xs, ys) of the plan cells in µm, [n, n] each."""
    axis = (np.arange(n) + 0.5) * PLAN_CELL_UM
    xs, ys = np.meshgrid(axis, axis)
    return xs, ys


def cloud(rng: np.random.Generator, n: int, scale_um: float) -> Float:
    """Smooth random field [n, n] with mean 0 and sd 1, features of about `scale_um`."""
    from scipy.ndimage import zoom

    coarse = max(4, math.ceil(n * PLAN_CELL_UM / scale_um) + 3)
    field = np.asarray(zoom(rng.normal(size=(coarse, coarse)), n / (coarse - 2) * 1.02, order=3)[:n, :n])
    return np.asarray((field - field.mean()) / (field.std() + 1e-9))


def star(rng: np.random.Generator, xs: Float, ys: Float, x: float, y: float, rough: float) -> Float:
    """Distance from (x, y) in units of a lobed outline of mean radius 1 µm: a star-shaped blob is `< r`."""
    theta = np.arctan2(ys - y, xs - x)
    outline = np.ones_like(theta)
    for order in range(2, 6):
        outline += rough / order * rng.normal() * np.cos(order * theta + rng.uniform(0, 2 * math.pi))
    return np.asarray(np.hypot(xs - x, ys - y) / np.clip(outline, 0.45, None))


def draw_layout(rng: np.random.Generator, side_um: float, pieces: int) -> Layout:
    """Plan `pieces` separate tissue pieces on a square slide of `side_um`."""
    n = math.ceil(side_um / PLAN_CELL_UM)
    xs, ys = grid_points(n)
    zones = np.zeros((n, n), np.uint8)
    masks = []
    for index, (cx, cy, half_w, half_h) in enumerate(_slots(rng, side_um, pieces)):
        angle = rng.normal(0.0, 0.12)
        c, s = math.cos(angle), math.sin(angle)
        u = (c * (xs - cx) + s * (ys - cy)) / half_w
        v = (-s * (xs - cx) + c * (ys - cy)) / half_h
        mask = star(rng, u, v, 0.0, 0.0, 0.15) < 0.95
        half = math.sqrt(half_w * half_h)
        layers = _mucosal if index == 0 or rng.random() < 0.6 else _stromal
        zones[mask] = layers(rng, xs, ys, cx, cy, half)[mask]
        masks.append(mask)
    density = rng.uniform(110, 300) * np.exp(0.3 * cloud(rng, n, 300.0))
    look_alikes = _look_alikes(rng, zones, density, xs, ys)
    return Layout(zones, density.astype(np.float32), tuple(masks), tuple(look_alikes))


def crowd(rng: np.random.Generator, layout: Layout, count: int) -> Layout:
    """The layout with `count` more patches of reactive glands and as many of mild inflammation."""
    zones, density = layout.zones.copy(), layout.inflammation.astype(np.float64)
    xs, ys = grid_points(zones.shape[0])
    added = []
    for _ in range(count):
        added += _reactive_glands(rng, zones, density, xs, ys)
        added += _mild_inflammation(rng, zones, density, xs, ys)
    patches = (*layout.look_alikes, *added)
    return Layout(zones, density.astype(np.float32), layout.pieces, patches)


def _slots(rng: np.random.Generator, side: float, pieces: int) -> list[tuple[float, float, float, float]]:
    """(centre x, centre y, half width, half height) of non-touching places for the pieces."""
    columns = math.ceil(math.sqrt(pieces))
    rows = math.ceil(pieces / columns)
    width, height = side / columns, side / rows
    if rng.random() < 0.5:
        columns, rows, width, height = rows, columns, height, width
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    chosen = [cells[m] for m in rng.permutation(len(cells))[:pieces]]
    slots = []
    for i, j in chosen:
        half_w, half_h = (0.5 * edge * rng.uniform(0.70, 0.84) for edge in (width, height))
        half_w, half_h = min(half_w, 2.0 * half_h), min(half_h, 2.0 * half_w)
        x = (j + 0.5) * width + rng.uniform(-1, 1) * max(0.0, width / 2 - half_w * 1.15)
        y = (i + 0.5) * height + rng.uniform(-1, 1) * max(0.0, height / 2 - half_h * 1.15)
        slots.append((float(x), float(y), float(half_w), float(half_h)))
    return slots


def _mucosal(
    rng: np.random.Generator, xs: Float, ys: Float, cx: float, cy: float, half: float
) -> NDArray[np.uint8]:
    """Layers like a bowel wall: mucosa, muscle, loose stroma, then fat or muscle."""
    n = xs.shape[0]
    angle = rng.uniform(0, 2 * math.pi)
    q = (math.cos(angle) * (xs - cx) + math.sin(angle) * (ys - cy)) / half
    q = q + 0.09 * cloud(rng, n, 420.0) + 0.04 * cloud(rng, n, 130.0)
    edge = rng.uniform(-0.15, 0.3)
    band = rng.uniform(0.06, 0.14)
    deep = rng.uniform(0.55, 0.75)
    floor = k.ADIPOSE if rng.random() < 0.6 else k.MUSCLE
    out = np.full((n, n), k.STROMA, np.uint8)
    out[q < edge] = k.MUCOSA
    out[(q >= edge) & (q < edge + band)] = k.MUSCLE
    out[q > deep] = floor
    return out


def _stromal(
    rng: np.random.Generator, xs: Float, ys: Float, cx: float, cy: float, half: float
) -> NDArray[np.uint8]:
    """Stroma with islands of fat, muscle and glands."""
    n = xs.shape[0]
    out = np.full((n, n), k.STROMA, np.uint8)
    for zone, limit in ((k.ADIPOSE, 0.75), (k.MUSCLE, 0.9), (k.MUCOSA, 0.85)):
        out[cloud(rng, n, 380.0) > limit + 0.5 * rng.uniform()] = zone
    return out


def _look_alikes(
    rng: np.random.Generator, zones: NDArray[np.uint8], density: Float, xs: Float, ys: Float
) -> list[Patch]:
    """Reactive glands, patches of mild inflammation, small lymphoid follicles; changes the plan in place."""
    patches = []
    for _ in range(int(rng.integers(1, 3))):
        patches += _reactive_glands(rng, zones, density, xs, ys)
    for _ in range(int(rng.integers(1, 4))):
        patches += _mild_inflammation(rng, zones, density, xs, ys)
    if rng.random() < 0.5:
        place = pick(rng, (zones == k.MUCOSA) | (zones == k.STROMA))
        if place is not None:
            radius = float(rng.uniform(35, 65))
            zones[(star(rng, xs, ys, *place, 0.1) < radius) & (zones != k.GLASS)] = k.LYMPHOID
            patches.append(Patch("lymphoid follicle", *place, radius))
    return patches


def _reactive_glands(
    rng: np.random.Generator, zones: NDArray[np.uint8], density: Float, xs: Float, ys: Float
) -> list[Patch]:
    """A patch of reactive glands in the mucosa, where there is any. In place."""
    place = pick(rng, zones == k.MUCOSA)
    if place is None:
        return []
    radius = float(rng.uniform(110, 230))
    inside = star(rng, xs, ys, *place, 0.2) < radius
    zones[inside & (zones == k.MUCOSA)] = k.REACTIVE
    density[inside] += rng.uniform(100, 900)
    return [Patch("reactive glands", *place, radius)]


def _mild_inflammation(
    rng: np.random.Generator, zones: NDArray[np.uint8], density: Float, xs: Float, ys: Float
) -> list[Patch]:
    """A patch of lymphocytes in mucosa or stroma. In place."""
    place = pick(rng, (zones == k.MUCOSA) | (zones == k.STROMA))
    if place is None:
        return []
    radius = float(rng.uniform(70, 150))
    blob = star(rng, xs, ys, *place, 0.25)
    density += rng.uniform(1200, 2000) * np.clip((radius - blob) / 40.0, 0, 1)
    return [Patch("mild inflammation", *place, radius)]


def pick(rng: np.random.Generator, mask: Mask) -> tuple[float, float] | None:
    """A random cell of a mask as (x, y) µm, None where the mask is empty."""
    cells = np.flatnonzero(mask)
    if not cells.size:
        return None
    i, j = divmod(int(cells[int(rng.integers(cells.size))]), mask.shape[1])
    return (j + 0.5) * PLAN_CELL_UM, (i + 0.5) * PLAN_CELL_UM
