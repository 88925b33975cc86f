"""Nuclei drawn into the dye maps: outline, membrane, chromatin, nucleoli, mitotic figures, red cells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import cells as n
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.noise import hash_cell, kernel, part, ramp, value

Dyes = NDArray[np.float32]


@kernel
def blend(dyes: Dyes, i: int, j: int, alpha: float, h: float, e: float, r: float) -> None:
    """Cover a pixel's dyes with (h, e, 0, r) at opacity `alpha`."""
    dyes[i, j, 0] += alpha * (h - dyes[i, j, 0])
    dyes[i, j, 1] += alpha * (e - dyes[i, j, 1])
    dyes[i, j, 2] -= alpha * dyes[i, j, 2]
    dyes[i, j, 3] += alpha * (r - dyes[i, j, 3])


@kernel
def mitosis_at(u: float, v: float, form: float, x: float, y: float) -> float:
    """Opacity of the chromosomes of a mitotic figure at (u, v) µm from its centre."""
    rough = (value(x / 1.3, y / 1.3, 77) - 0.5) * 2.2
    if form < 0.5:
        d = max(abs(u) - 5.3, abs(v) - 1.6)
    elif form < 0.72:
        d = max(abs(u) - 4.6, abs(abs(v) - 3.0) - 1.2)
    else:
        d = abs(math.sqrt(u * u + v * v) - 2.4) - 1.9
    return ramp(0.6, -0.5, d + rough)


@kernel
def ink_form(cls: int, grade: float) -> tuple[float, float, float]:
    """(haematoxylin, share cleared in the middle, extra at the rim) of a nucleus class."""
    if cls == k.N_LYMPHOCYTE:
        return 1.62, 0.0, 0.05
    if cls == k.N_TUMOUR:
        return 1.0 + 0.07 * grade, 0.10 * grade, 0.28 + 0.1 * grade
    if cls == k.N_DYSPLASTIC:
        return 1.0 + 0.07 * grade, 0.05, 0.28 + 0.1 * grade
    if cls == k.N_BENIGN:
        return 1.12, 0.0, 0.25
    if cls == k.N_FIBROBLAST or cls == k.N_MUSCLE or cls == k.N_ENDOTHELIAL:
        return 1.08, 0.0, 0.25
    if cls == k.N_DEBRIS:
        return 1.25, 0.0, 0.0
    return 1.0, 0.0, 0.25


@kernel
def crush_direction(crush: NDArray[np.float64], x: float, y: float) -> float:
    """Direction of the squeeze at (x, y), or -1 outside every crushed spot."""
    for m in range(crush.shape[0]):
        a, b = (x - crush[m, 0]) / crush[m, 2], (y - crush[m, 1]) / crush[m, 3]
        if a * a + b * b < 1.0:
            return float(crush[m, 4])
    return -1.0


@kernel
def draw_mitosis(dyes: Dyes, i: int, j: int, u: float, v: float, form: float, x: float, y: float) -> None:
    """A cleared cell with chromosomes: (u, v) µm from its centre, (x, y) in the world."""
    halo = ramp(8.6, 6.4, math.sqrt(u * u + v * v))
    if halo > 0:
        blend(dyes, i, j, 0.85 * halo, 0.07, 0.20, 0.0)
        blend(dyes, i, j, mitosis_at(u, v, form, x, y), 2.5, 0.25, 0.0)


@kernel
def draw_apoptosis(dyes: Dyes, i: int, j: int, u: float, v: float) -> None:
    """A round dark body in shrunken eosinophilic cytoplasm."""
    d = math.sqrt(u * u + v * v)
    blend(dyes, i, j, 0.8 * ramp(5.8, 4.8, d), 0.05, 0.85, 0.0)
    blend(dyes, i, j, ramp(2.4, 1.6, d), 2.1, 0.4, 0.0)


@kernel
def draw_interphase(
    row: n.Table,
    x0: float,
    y0: float,
    mpp: float,
    grade: float,
    squeeze: float,
    box: tuple[int, int, int, int],
    dyes: Dyes,
) -> None:
    """An ordinary nucleus (or red cell) into the pixels of `box` (i0, i1, j0, j1)."""
    x, y, cls = row[n.X], row[n.Y], int(row[n.CLASS])
    bits, more = hash_cell(int(row[n.HASH]), 1, 5), hash_cell(int(row[n.HASH]), 2, 5)
    long, short, angle = outline_of(row, squeeze)
    ca, sa = math.cos(angle), math.sin(angle)
    dark, clear, rim = ink_form(cls, grade)
    tone = 0.85 + 0.3 * part(bits, 2)
    if cls == k.N_TUMOUR or cls == k.N_DYSPLASTIC:
        tone = 1.0 + (tone - 1.0) * grade
    if squeeze >= 0:
        dark, clear, rim = 1.75, 0.0, 0.0
    soft = 1.3 if squeeze >= 0 else 0.55
    p2, p3 = 2 * math.pi * part(more, 0), 2 * math.pi * part(more, 1)
    lumpy = 0.045 + 0.02 * grade if cls == k.N_TUMOUR else 0.05
    most = 1.0 + 1.8 * lumpy
    nu, nv = (part(more, 2) - 0.5) * long * 0.9, (part(more, 3) - 0.5) * short * 0.9
    nucleolus = (0.75 + 0.35 * grade) if (cls == k.N_TUMOUR and grade > 1.5) else 0.0
    for i in range(box[0], box[1]):
        py = y0 + (i + 0.5) * mpp - y
        for j in range(box[2], box[3]):
            px = x0 + (j + 0.5) * mpp - x
            u, v = ca * px + sa * py, -sa * px + ca * py
            around = math.sqrt((u / long) ** 2 + (v / short) ** 2)
            if (around / most - 1.0) * short > soft:
                continue
            theta = math.atan2(v * long / short, u)
            outline = 1.0 + lumpy * (math.cos(2 * theta + p2) + 0.8 * math.cos(3 * theta + p3))
            rho = around / outline
            alpha = ramp(soft, -soft, (rho - 1.0) * short)
            if alpha <= 0.0:
                continue
            if cls == k.N_RED_CELL:
                blend(dyes, i, j, 0.9 * alpha, 0.0, 0.12, 0.75 - 0.2 * ramp(0.6, 0.0, rho))
                continue
            chroma = value((x + px) / 1.35, (y + py) / 1.35, 78) - 0.5
            ink = dark * tone * (1.0 - clear * ramp(1.0, 0.3, rho) + (0.35 + clear) * chroma)
            ink += rim * ramp(0.62, 0.95, rho)
            eosin = 0.22
            if nucleolus > 0:
                spot = ramp(nucleolus + 0.4, nucleolus - 0.4, math.sqrt((u - nu) ** 2 + (v - nv) ** 2))
                ink += 0.9 * spot
                eosin += 0.5 * spot
            blend(dyes, i, j, 0.94 * alpha, max(ink, 0.15), eosin, 0.0)


@kernel
def outline_of(row: n.Table, squeeze: float) -> tuple[float, float, float]:
    """(long half-axis, short half-axis, angle) of a nucleus, drawn out where it was crushed."""
    aspect, angle, area = row[n.ASPECT], row[n.ANGLE], row[n.AREA]
    if squeeze >= 0:
        bits = hash_cell(int(row[n.HASH]), 1, 5)
        angle = squeeze + 0.3 * (part(bits, 0) - 0.5)
        aspect = 5.0 + 5.0 * part(bits, 1)
        area = area * 1.15
    short = math.sqrt(area / (math.pi * aspect))
    return short * aspect, short, angle


@kernel
def stamp(
    table: n.Table, x0: float, y0: float, mpp: float, grade: float, crush: NDArray[np.float64], dyes: Dyes
) -> None:
    """Draw a nucleus table into dyes [height, width, 4]. `crush` [m, 5] = (x, y, rx, ry, angle) in µm."""
    height, width = dyes.shape[0], dyes.shape[1]
    for index in range(table.shape[0]):
        row = table[index]
        x, y, cls = row[n.X], row[n.Y], int(row[n.CLASS])
        squeeze = -1.0 if cls == k.N_RED_CELL else crush_direction(crush, x, y)
        mitosis = row[n.MITOSIS] > 0 and squeeze < 0
        apoptosis = cls == k.N_APOPTOTIC and not mitosis
        long, _, angle = outline_of(row, squeeze)
        reach = 9.0 if mitosis else 6.5 if apoptosis else long * 1.25 + 1.0
        j0, j1 = max(0, int((x - reach - x0) / mpp)), min(width, int((x + reach - x0) / mpp) + 2)
        i0, i1 = max(0, int((y - reach - y0) / mpp)), min(height, int((y + reach - y0) / mpp) + 2)
        if not mitosis and not apoptosis:
            draw_interphase(row, x0, y0, mpp, grade, squeeze, (i0, i1, j0, j1), dyes)
            continue
        ca, sa = math.cos(angle), math.sin(angle)
        form = part(hash_cell(int(row[n.HASH]), 1, 5), 3)
        for i in range(i0, i1):
            py = y0 + (i + 0.5) * mpp - y
            for j in range(j0, j1):
                px = x0 + (j + 0.5) * mpp - x
                u, v = ca * px + sa * py, -sa * px + ca * py
                if mitosis:
                    draw_mitosis(dyes, i, j, u, v, form, x + px, y + py)
                else:
                    draw_apoptosis(dyes, i, j, u, v)
