"""What goes wrong between the bench and the file: folds, blur, pen marks, bubbles, crush."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

ArtifactKind = Literal["fold", "blur", "pen", "bubble", "crush"]
Float = NDArray[np.float32]

INKS: Final = ((0.22, 0.34, 0.72), (0.18, 0.52, 0.34), (0.16, 0.16, 0.18), (0.80, 0.22, 0.28))


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact at (x, y) µm, turned by `angle`; half-axes (rx, ry) µm; `level` its strength.

    Folds and pen strokes are bands of half-width ry and half-length rx that bend by `bend` (1/µm);
    the others are ellipses.
    """

    kind: ArtifactKind
    x: float
    y: float
    rx: float
    ry: float
    angle: float
    level: float
    bend: float = 0.0

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in µm, generous."""
        r = max(self.rx, self.ry) * 1.2 + abs(self.bend) * self.rx**2
        return self.x - r, self.y - r, self.x + r, self.y + r

    def touches(self, x: float, y: float, width: float, height: float) -> bool:
        """Whether the bounds overlap a window in µm."""
        x0, y0, x1, y1 = self.bounds
        return x0 < x + width and x1 > x and y0 < y + height and y1 > y

    def edge(self, xs: Float, ys: Float) -> Float:
        """Distance inside the artifact (µm, > 0 inside) at points of the world."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        u, v = c * (xs - self.x) + s * (ys - self.y), -s * (xs - self.x) + c * (ys - self.y)
        if self.kind in ("fold", "pen"):
            v = v - self.bend * u * u + 0.12 * self.ry * np.sin(u / 37.0 + self.level * 9.0)
            taper = np.sqrt(np.clip(1.0 - (u / self.rx) ** 4, 0.0, 1.0))
            beyond = np.clip(np.abs(u) - self.rx, 0.0, None)
            return np.asarray(self.ry * taper - np.abs(v) - beyond - 3.0 * (taper == 0), np.float32)
        rough = 1.0 + 0.07 * np.sin(3 * np.arctan2(v, u) + self.level * 11.0)
        rho = np.sqrt((u / self.rx) ** 2 + (v / self.ry) ** 2) * rough
        return np.asarray((1.0 - rho) * min(self.rx, self.ry), np.float32)


def draw_artifact(
    rng: np.random.Generator, kind: ArtifactKind, x: float, y: float, extent_um: float
) -> Artifact:
    """An artifact of natural size at (x, y) µm on a specimen of about `extent_um`."""
    angle, level = float(rng.uniform(0, math.pi)), float(rng.uniform())
    u = float(rng.uniform())
    if kind == "fold":
        return Artifact(
            kind, x, y, 0.25 * extent_um + 150, 24 + 24 * u, angle, level, float(rng.normal(0, 3e-4))
        )
    if kind == "pen":
        return Artifact(
            kind, x, y, 0.3 * extent_um + 250, 90 + 90 * u, angle, level, float(rng.normal(0, 2e-4))
        )
    if kind == "crush":
        return Artifact(kind, x, y, 85 + 60 * u, 65 + 40 * level, 0.0, level)
    base = 110 + 0.06 * extent_um * u
    return Artifact(kind, x, y, base * float(rng.uniform(0.9, 1.5)), base, angle, level)


def crush_table(artifacts: Sequence[Artifact]) -> NDArray[np.float64]:
    """[m, 5] (x, y, rx, ry, direction) for the nucleus painter."""
    rows = [(a.x, a.y, a.rx, a.ry, math.pi * a.level) for a in artifacts if a.kind == "crush"]
    return np.array(rows, np.float64).reshape(-1, 5)


def window_points(x: float, y: float, mpp: float, width: int, height: int) -> tuple[Float, Float]:
    """World coordinates of the pixel centres of a window."""
    xs = (x + (np.arange(width, dtype=np.float32) + 0.5) * mpp).astype(np.float32)
    ys = (y + (np.arange(height, dtype=np.float32) + 0.5) * mpp).astype(np.float32)
    return np.broadcast_to(xs[None, :], (height, width)), np.broadcast_to(ys[:, None], (height, width))


def smooth_step(edge: Float, width: float) -> Float:
    """0 outside, 1 inside, over `width` µm around the border."""
    t = np.clip(edge / width + 0.5, 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def fold_dyes(
    artifacts: Sequence[Artifact], xs: Float, ys: Float, tissue: NDArray[np.bool_], dyes: Float
) -> None:
    """Two layers of tissue on top of each other, dark at the crease. Changes `dyes` in place."""
    for a in artifacts:
        if a.kind != "fold":
            continue
        edge = a.edge(xs, ys)
        if edge.max() <= -3:
            continue
        inside = smooth_step(edge, 3.0) * tissue
        crease = np.exp(-((edge - 3.0) ** 2) / 8.0) * inside
        wave = 0.5 + 0.5 * np.sin(edge / 5.0 + xs / 31.0)
        dyes *= (1.0 + 0.75 * inside)[..., None]
        dyes[..., 0] += inside * (0.16 + 0.08 * wave) + 0.15 * crease
        dyes[..., 1] += inside * (0.30 + 0.12 * wave) + 0.25 * crease


def crush_dyes(
    artifacts: Sequence[Artifact], xs: Float, ys: Float, tissue: NDArray[np.bool_], dyes: Float
) -> None:
    """Smear of chromatin along the direction of the squeeze. Changes `dyes` in place."""
    for a in artifacts:
        if a.kind != "crush":
            continue
        edge = a.edge(xs, ys)
        if edge.max() <= 0:
            continue
        c, s = math.cos(math.pi * a.level), math.sin(math.pi * a.level)
        along, across = c * xs + s * ys, -s * xs + c * ys
        across = across + 5.0 * np.sin(along / 23.0) + 2.0 * np.sin(along / 9.0 + across / 13.0)
        streak = np.sin(across / 1.9 + 2.0 * np.sin(across / 5.3)) * np.sin(across / 7.7 + along / 40.0)
        inside = smooth_step(edge - 6.0, 16.0) * tissue
        dyes[..., 0] += inside * (0.16 + 0.36 * np.clip(streak, 0, 1))
        dyes[..., 1] *= 1.0 - 0.3 * inside


def shade_light(artifacts: Sequence[Artifact], xs: Float, ys: Float, mpp: float, light: Float) -> None:
    """Blur, pen and bubbles on transmitted light [h, w, 3], in place."""
    from scipy.ndimage import gaussian_filter

    for a in artifacts:
        if a.kind not in ("blur", "pen", "bubble"):
            continue
        edge = a.edge(xs, ys)
        if edge.max() <= -12:
            continue
        if a.kind == "blur":
            sigma = (2.6 + 2.4 * a.level) / mpp
            mix = smooth_step(edge - 8.0, 30.0)[..., None]
            light += mix * (gaussian_filter(light, (sigma, sigma, 0)) - light)
        elif a.kind == "pen":
            ink = np.array(INKS[int(a.level * 3.999)], np.float32)
            streak = 0.95 + 0.05 * np.sin(edge / 11.0 + 2.0 * np.sin(xs / 61.0))
            cover = (smooth_step(edge, 9.0) * streak * (0.70 + 0.16 * a.level))[..., None]
            light *= 1.0 - cover * (1.0 - ink)
        else:
            inside = smooth_step(edge, 3.0)[..., None]
            sigma = 1.6 / mpp
            hazy = 0.80 * gaussian_filter(light, (sigma, sigma, 0)) + 0.16
            light += inside * (hazy - light)
            rim = np.exp(-((edge - 3.0) ** 2) / 14.0) - 0.35 * np.exp(-((edge - 12.0) ** 2) / 22.0)
            light *= (1.0 - 0.72 * rim)[..., None].astype(np.float32)


def margin_um(artifacts: Sequence[Artifact]) -> float:
    """How far beyond a window its pixels depend on others (blur kernels)."""
    return 26.0 if any(a.kind in ("blur", "bubble") for a in artifacts) else 2.0


def coverage(artifacts: Sequence[Artifact], xs: Float, ys: Float) -> dict[str, float]:
    """Share of the window that each kind of artifact covers."""
    masks: dict[str, NDArray[np.bool_]] = {}
    for a in artifacts:
        inside = a.edge(xs, ys) > 0
        masks[a.kind] = masks[a.kind] | inside if a.kind in masks else inside
    return {kind: float(mask.mean()) for kind, mask in masks.items()}
