"""How near images are to other images: pair by pair, and as sets.

Pairs are [H, W, 3] uint8 RGB of one size. Sets are compared on features that the caller names, [n, D] and
[m, D]: a distance on one encoder's features says nothing beside one on another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring.score import Score

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
MOST_PSNR: Final = 100.0
"""Decibels of two equal images, whose ratio is infinite."""
MS_SSIM_PX: Final = 161
"""Least side for five scales."""
LPIPS_FILES: Final = {
    "vgg16-397923af.pth": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "lpips_weights.pt": "https://github.com/photosynthesis-team/photosynthesis.metrics/releases/download/"
    "v0.4.0/lpips_weights.pt",
}
"""File in torch's hub folder → where it is published: VGG16 on ImageNet, and the weights of its layers."""


def psnr(images: Sequence[Image | None], references: Sequence[Image]) -> Score:
    """Peak signal-to-noise ratio in dB, mean over images; equal images count 100, a missing one 0."""

    def of(ours: Image, theirs: Image) -> float:
        error = float(((ours.astype(np.float64) - theirs) ** 2).mean())
        return min(MOST_PSNR, float(10 * np.log10(255**2 / error))) if error else MOST_PSNR

    return _pairs(
        "psnr", of, images, references, worst=0.0, by=f"10 log10(255² / MSE), at most {MOST_PSNR:g}"
    )


def ssim(images: Sequence[Image | None], references: Sequence[Image]) -> Score:
    """Structural similarity (Wang et al. 2004) over the three channels, mean over images; missing 0."""
    from skimage.metrics import structural_similarity

    def of(ours: Image, theirs: Image) -> float:
        return float(structural_similarity(ours, theirs, channel_axis=2, data_range=255))

    return _pairs("ssim", of, images, references, worst=0.0, by=_skimage("SSIM, uniform window 7"))


def ms_ssim(images: Sequence[Image | None], references: Sequence[Image]) -> Score:
    """Structural similarity over five scales (Wang et al. 2003); sides of at least 161 px. Missing 0."""
    small = [r.shape for r in references if min(r.shape[:2]) < MS_SSIM_PX]
    if small:
        raise ValueError(f"five scales need sides of at least {MS_SSIM_PX} px, not {small[0]}")
    return _pairs(
        "ms_ssim", _by_piq("multi_scale_ssim"), images, references, worst=0.0, by=_piq("MS-SSIM, 5 scales")
    )


def gmsd(images: Sequence[Image | None], references: Sequence[Image]) -> Score:
    """Gradient magnitude similarity deviation (Xue et al. 2014): 0 is the same. A missing image counts 1."""
    return _pairs("gmsd", _by_piq("gmsd"), images, references, worst=1.0, by=_piq("GMSD"))


def lpips(images: Sequence[Image | None], references: Sequence[Image]) -> Score:
    """Learned perceptual distance (Zhang et al. 2018, VGG16): 0 is the same. A missing image counts 1.

    UserError where the weights do not lie in torch's hub folder: nothing is downloaded.
    """
    network = _perceptual()

    def of(ours: Image, theirs: Image) -> float:
        return float(network(_batch(ours).float(), _batch(theirs).float()))

    return _pairs("lpips", of, images, references, worst=1.0, by=_piq("LPIPS, VGG16"))


def frechet(features: Floats, references: Floats, *, on: str) -> Score:
    """Fréchet distance of the Gaussians fitted to two sets of features; `on` names the features."""
    from scipy.linalg import sqrtm

    a, b = _sets(features, references)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(first @ second))
    value = float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))
    return Score(name="frechet", value=value, signature=f"Fréchet on {on}; {len(a)} and {len(b)} images")


def kid(features: Floats, references: Floats, *, on: str) -> Score:
    """Unbiased squared maximum mean discrepancy with the cubic kernel (Bińkowski et al. 2018)."""
    a, b = _sets(features, references)

    def kernel(x: Floats, y: Floats) -> Floats:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    def within(x: Floats) -> float:
        k = kernel(x, x)
        return float((k.sum() - np.trace(k)) / (len(x) * (len(x) - 1)))

    value = within(a) + within(b) - 2 * float(kernel(a, b).mean())
    return Score(name="kid", value=value, signature=f"KID on {on}; {len(a)} and {len(b)} images")


def ks(values: Sequence[float], references: Sequence[float], *, of: str) -> Score:
    """Kolmogorov-Smirnov statistic of two samples: the greatest gap between their distributions, 0 to 1."""
    from scipy.stats import ks_2samp

    a, b = _samples(values, references)
    return Score(
        name="ks",
        value=float(ks_2samp(a, b).statistic),
        signature=f"KS of {of}; {len(a)} and {len(b)} values",
    )


def wasserstein(values: Sequence[float], references: Sequence[float], *, of: str) -> Score:
    """First Wasserstein distance of two samples, in the unit of the values, which `of` names."""
    from scipy.stats import wasserstein_distance

    a, b = _samples(values, references)
    return Score(
        name="wasserstein",
        value=float(wasserstein_distance(a, b)),
        signature=f"W1 of {of}; {len(a)} and {len(b)} values",
    )


def _pairs(
    name: str,
    of: Callable[[Image, Image], float],
    images: Sequence[Image | None],
    references: Sequence[Image],
    *,
    worst: float,
    by: str,
) -> Score:
    if not references or len(images) != len(references):
        raise ValueError(f"needs one image a reference, at least one (got {len(images)}, {len(references)})")
    items = []
    for ours, theirs in zip(images, references, strict=True):
        if ours is not None and (ours.shape != theirs.shape or ours.dtype != np.uint8):
            raise ValueError(f"{ours.shape} {ours.dtype} and {theirs.shape} {theirs.dtype} do not compare")
        items.append(worst if ours is None else of(ours, theirs))
    missing = sum(i is None for i in images)
    return Score(name=name, value=float(np.mean(items)), items=tuple(items), signature=by, missing=missing)


def _by_piq(name: str) -> Callable[[Image, Image], float]:
    score = getattr(_package(name), name)
    return lambda ours, theirs: float(score(_batch(ours), _batch(theirs)))


def _package(name: str) -> Any:
    try:
        import piq
    except ModuleNotFoundError as error:
        if error.name != "piq":
            raise
        raise UserError(f"{name} needs the package piq. Type: pip install 'pathagent[eval]'") from None
    return piq


def _batch(image: Image) -> Any:
    """[1, 3, H, W] in 0..1."""
    import torch

    return torch.from_numpy(image / 255).permute(2, 0, 1)[None]


@cache
def _perceptual() -> Any:
    """piq's network, from files that are there."""
    import warnings

    import torch

    piq, folder = _package("lpips"), Path(torch.hub.get_dir()) / "checkpoints"
    if missing := [url for name, url in LPIPS_FILES.items() if not (folder / name).is_file()]:
        raise UserError(f"lpips needs weights that are not here. Put into {folder}: {' and '.join(missing)}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        return piq.LPIPS().eval()


def _sets(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"needs [n, D] and [m, D] with n and m of at least 2, not {a.shape} and {b.shape}")
    return a.astype(np.float64), b.astype(np.float64)


def _samples(a: Sequence[float], b: Sequence[float]) -> tuple[Any, Any]:
    if not len(a) or not len(b):
        raise ValueError(f"needs at least one value each (got {len(a)}, {len(b)})")
    return np.asarray(a, np.float64), np.asarray(b, np.float64)


def _skimage(what: str) -> str:
    return f"scikit-image {version('scikit-image')} {what}"


def _piq(what: str) -> str:
    return f"piq {version('piq')} {what}"
