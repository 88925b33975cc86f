"""Nuclei drawn into the dye maps: outline, membrane, chromatin, nucleoli, mitotic figures, red cells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom import nuclei as n
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
def stamp(
    table: n.Table, x0: float, y0: float, mpp: float, grade: float, crush: NDArray[np.float64], dyes: Dyes
) -> None:
    """Draw a nucleus table into dyes [height, width, 4]. `crush` [m, 5] = (x, y, rx, ry, angle) in µm."""
    height, width = dyes.shape[0], dyes.shape[1]
    for row_index in range(table.shape[0]):
        row = table[row_index]
        x, y, cls = row[n.X], row[n.Y], int(row[n.CLASS])
        bits = hash_cell(int(row[n.HASH]), 1, 5)
        more = hash_cell(int(row[n.HASH]), 2, 5)
        aspect, angle, area = row[n.ASPECT], row[n.ANGLE], row[n.AREA]
        crushed = False
        for m in range(crush.shape[0]):
            a, b = (x - crush[m, 0]) / crush[m, 2], (y - crush[m, 1]) / crush[m, 3]
            if a * a + b * b < 1.0 and cls != k.N_RED_CELL:
                crushed = True
                angle = crush[m, 4] + 0.3 * (part(bits, 0) - 0.5)
                aspect = 5.0 + 5.0 * part(bits, 1)
                area *= 1.15
        short = math.sqrt(area / (math.pi * aspect))
        long = short * aspect
        mitosis = row[n.MITOSIS] > 0 and not crushed
        reach = 9.0 if mitosis else long * 1.25 + 1.0
        if cls == k.N_APOPTOTIC:
            reach = 6.5
        ca, sa = math.cos(angle), math.sin(angle)
        tone = 0.85 + 0.3 * part(bits, 2)
        clear, dark, rim = 0.0, 1.0, 0.25
        if cls == k.N_LYMPHOCYTE:
            dark, rim = 1.62, 0.05
        elif cls == k.N_TUMOUR or cls == k.N_DYSPLASTIC:
            dark = 1.0 + 0.07 * grade
            clear = 0.10 * grade if cls == k.N_TUMOUR else 0.05
            rim = 0.28 + 0.1 * grade
            tone = 1.0 + (tone - 1.0) * grade
        elif cls == k.N_BENIGN:
            dark = 1.12
        elif cls == k.N_FIBROBLAST or cls == k.N_MUSCLE or cls == k.N_ENDOTHELIAL:
            dark = 1.08
        elif cls == k.N_DEBRIS:
            dark, rim = 1.25, 0.0
        if crushed:
            dark, clear, rim = 1.75, 0.0, 0.0
        p2, p3 = 2 * math.pi * part(more, 0), 2 * math.pi * part(more, 1)
        lumpy = 0.045 + 0.02 * grade if cls == k.N_TUMOUR else 0.05
        nu, nv = (part(more, 2) - 0.5) * long * 0.9, (part(more, 3) - 0.5) * short * 0.9
        nucleolus = (0.75 + 0.35 * grade) if (cls == k.N_TUMOUR and grade > 1.5) else 0.0
        j0, j1 = int((x - reach - x0) / mpp), int((x + reach - x0) / mpp) + 1
        i0, i1 = int((y - reach - y0) / mpp), int((y + reach - y0) / mpp) + 1
        for i in range(max(0, i0), min(height, i1 + 1)):
            py = y0 + (i + 0.5) * mpp - y
            for j in range(max(0, j0), min(width, j1 + 1)):
                px = x0 + (j + 0.5) * mpp - x
                u, v = ca * px + sa * py, -sa * px + ca * py
                if mitosis:
                    d = math.sqrt(u * u + v * v)
                    halo = ramp(8.6, 6.4, d)
                    if halo > 0:
                        blend(dyes, i, j, 0.85 * halo, 0.07, 0.20, 0.0)
                        ink = mitosis_at(u, v, part(bits, 3), x + px, y + py)
                        blend(dyes, i, j, ink, 2.5, 0.25, 0.0)
                    continue
                if cls == k.N_APOPTOTIC:
                    d = math.sqrt(u * u + v * v)
                    blend(dyes, i, j, 0.8 * ramp(5.8, 4.8, d), 0.05, 0.85, 0.0)
                    blend(dyes, i, j, ramp(2.4, 1.6, d), 2.1, 0.4, 0.0)
                    continue
                theta = math.atan2(v * aspect, u)
                outline = 1.0 + lumpy * (math.cos(2 * theta + p2) + 0.8 * math.cos(3 * theta + p3))
                rho = math.sqrt((u / long) ** 2 + (v / short) ** 2) / outline
                edge = (rho - 1.0) * short
                soft = 1.3 if crushed else 0.55
                alpha = ramp(soft, -soft, edge)
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
