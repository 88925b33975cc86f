"""Plan, stain, scanner and artifacts → the pixels of a window."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.artifacts import (
    Artifact,
    crush_dyes,
    crush_table,
    fold_dyes,
    margin_um,
    shade_light,
    window_points,
)
from pathagent_tools.phantom.noise import kernel
from pathagent_tools.phantom.plan import Plan
from pathagent_tools.phantom.stain import Scanner, StainBatch, absorbance, digitise, expose

Image = NDArray[np.uint8]

_CELLULAR = np.isin(
    np.arange(len(k.CLASSES)),
    (k.C_STROMA, k.C_MUSCLE, k.C_BENIGN, k.C_DYSPLASTIC, k.C_TUMOUR, k.C_LYMPHOID),
)
"""Classes whose chromatin smears when squeezed."""


def photograph(
    plan: Plan,
    x: float,
    y: float,
    mpp: float,
    width: int,
    height: int,
    *,
    stain: StainBatch,
    scanner: Scanner,
    artifacts: Sequence[Artifact] = (),
) -> tuple[Image, NDArray[np.uint8]]:
    """(RGB uint8 [height, width, 3], class map [height, width]) of the window at (x, y) µm, before JPEG."""
    from scipy.ndimage import gaussian_filter1d

    sigma = scanner.psf_um / mpp
    touching = [a for a in artifacts if a.touches(x, y, width * mpp, height * mpp)]
    pad = int(np.ceil(max(margin_um(touching), 3 * scanner.psf_um) / mpp)) + 1
    wx, wy = x - pad * mpp, y - pad * mpp
    w, h = width + 2 * pad, height + 2 * pad
    if not touching and plan.is_glass(wx, wy, w * mpp, h * mpp):
        return _empty(plan, x, y, mpp, width, height, scanner)
    labels, dyes = plan.dyes(wx, wy, mpp, w, h, crush_table(touching))
    light = np.empty((h, w, 3), np.float32)
    if touching:
        xs, ys = window_points(wx, wy, mpp, w, h)
        tissue = labels != k.C_BACKGROUND
        crush_dyes(touching, xs, ys, _CELLULAR[labels], dyes)
        fold_dyes(touching, xs, ys, tissue, dyes)
    expose(dyes, absorbance(scanner, stain), scanner.gamma, light)
    if touching:
        shade_light(touching, xs, ys, mpp, light)
    if sigma > 0.2:
        for axis in (0, 1):
            light = gaussian_filter1d(light, sigma, axis=axis, truncate=3.0)
    inner = np.ascontiguousarray(light[pad : pad + height, pad : pad + width])
    out = _sensor(plan, x, y, mpp, scanner, inner)
    return out, np.ascontiguousarray(labels[pad : pad + height, pad : pad + width])


def _sensor(
    plan: Plan, x: float, y: float, mpp: float, scanner: Scanner, light: NDArray[np.float32]
) -> Image:
    out = np.empty(light.shape, np.uint8)
    white = np.array(scanner.white, np.float32)
    digitise(light, round(x / mpp), round(y / mpp), white, scanner.noise, plan.key + 9, out)
    return out


def _empty(
    plan: Plan, x: float, y: float, mpp: float, width: int, height: int, scanner: Scanner
) -> tuple[Image, NDArray[np.uint8]]:
    """Bare glass, the same pixels as painting it would give: even light, blurred like everything else."""
    from scipy.ndimage import gaussian_filter1d

    sigma = scanner.psf_um / mpp
    spot = np.ones((int(6 * sigma) + 9,) * 2, np.float32)
    for axis in (0, 1) if sigma > 0.2 else ():
        spot = gaussian_filter1d(spot, sigma, axis=axis, truncate=3.0)
    light = np.full((height, width, 3), spot[len(spot) // 2, len(spot) // 2], np.float32)
    return _sensor(plan, x, y, mpp, scanner, light), np.zeros((height, width), np.uint8)


def jpeg_bytes(image: Image, quality: int) -> bytes:
    """Baseline JPEG (YCbCr, 4:2:0), as phantom slides hold it."""
    from PIL import Image as Pil

    buffer = io.BytesIO()
    Pil.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=2)
    return buffer.getvalue()


def jpeg_round_trip(image: Image, quality: int) -> Image:
    """The image after one JPEG compression, as it would come out of the scanner's file."""
    from PIL import Image as Pil

    return np.asarray(Pil.open(io.BytesIO(jpeg_bytes(image, quality))).convert("RGB"))


@kernel
def _average(image: Image, factor: int, out: Image) -> None:
    n = factor * factor
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for m in range(3):
                total = 0
                for a in range(factor):
                    for b in range(factor):
                        total += image[i * factor + a, j * factor + b, m]
                out[i, j, m] = (total + n // 2) // n


def shrink(image: Image, factor: int) -> Image:
    """Area average by an integer factor; a remainder at the right or lower edge is dropped."""
    if factor == 1:
        return image
    out = np.empty((image.shape[0] // factor, image.shape[1] // factor, 3), np.uint8)
    _average(image, factor, out)
    return out
