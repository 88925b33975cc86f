"""Scores of images beside their reference implementations, and what does not compare."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.measure import image_scores as scores

RNG = np.random.default_rng(5)


def picture(seed: int = 0, side: int = 176) -> np.ndarray:
    """A smooth field with grain, as tissue has."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(side, side, 3)), (6, 6, 0))
    return np.clip(150 + 900 * smooth + rng.normal(size=smooth.shape) * 8, 0, 255).astype(np.uint8)


def noisy(image: np.ndarray, much: float) -> np.ndarray:
    return np.clip(image + RNG.normal(size=image.shape) * much, 0, 255).astype(np.uint8)


A = picture()
PAIRS = [noisy(A, 4), noisy(A, 40), picture(1), 255 - A, np.full_like(A, 255)]


@pytest.mark.parametrize("other", PAIRS)
def test_scores_of_a_pair_agree_with_another_implementation(other: np.ndarray) -> None:
    import piq
    import torch
    from skimage.metrics import peak_signal_noise_ratio

    x, y = (torch.from_numpy(i.astype(np.float64) / 255).permute(2, 0, 1)[None] for i in (other, A))
    assert scores.psnr([other], [A]).value == pytest.approx(
        peak_signal_noise_ratio(A, other, data_range=255), abs=1e-6
    )
    assert scores.gmsd([other], [A]).value == pytest.approx(float(piq.gmsd(x, y)), abs=1e-6)
    assert scores.ms_ssim([other], [A]).value == pytest.approx(float(piq.multi_scale_ssim(x, y)), abs=1e-6)


def test_the_same_image_is_best_and_a_missing_one_worst() -> None:
    for name, best, worst in (("psnr", 100, 0), ("ssim", 1, 0), ("ms_ssim", 1, 0), ("gmsd", 0, 1)):
        score = getattr(scores, name)([A, None], [A, A])
        assert score.items == pytest.approx((best, worst), abs=1e-5)
        assert score.missing == 1 and score.value == pytest.approx((best + worst) / 2, abs=1e-5)
        near, far = getattr(scores, name)([noisy(A, 4), noisy(A, 40)], [A, A]).items
        assert (near > far) == (best > worst)


def test_a_learned_distance_needs_weights_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import piq
    import torch
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    scores._perceptual.cache_clear()
    with pytest.raises(UserError, match=r"Put into .*checkpoints: https://.*vgg16.* and https://.*lpips"):
        scores.lpips([A], [A])
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    network = torchvision.models.vgg16().half()
    torch.save(network.state_dict(), folder / "vgg16-397923af.pth")
    layers = [torch.rand(1, n, 1, 1) for n in (64, 128, 256, 512, 512)]
    torch.save(layers, folder / "lpips_weights.pt")
    found = scores.lpips([A, noisy(A, 4), noisy(A, 40), None], [A] * 4)
    near, far = found.items[1:3]
    assert found.items[0] == 0 and 0 < near < far and found.items[3] == 1 and found.missing == 1
    x, y = (torch.from_numpy(i).permute(2, 0, 1)[None] / 255 for i in (PAIRS[0], A))
    with warnings.catch_warnings(action="ignore"):
        theirs = float(piq.LPIPS()(x.float(), y.float()))
    assert scores.lpips([PAIRS[0]], [A]).value == pytest.approx(theirs, abs=1e-6)


def test_set_distances_agree_with_their_reference_and_are_none_between_equals() -> None:
    import piq
    import torch

    a, b = RNG.normal(size=(300, 8)), RNG.normal(size=(200, 8)) * 1.4 + 0.3
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    assert scores.frechet(a, b, on="noise").value == pytest.approx(
        float(piq.FID().compute_metric(ta, tb)), rel=1e-5
    )  # it adds 1e-6 to the diagonals
    assert scores.frechet(a, a, on="noise").value == pytest.approx(0, abs=1e-9)
    whole = piq.KID(n_subsets=1, subset_size=200)
    assert scores.kid(a[:200], b, on="noise").value == pytest.approx(
        float(whole.compute_metric(ta[:200], tb)), abs=1e-6
    )
    assert scores.kid(a, b, on="noise").value > 10 * abs(scores.kid(a[::2], a[1::2], on="noise").value)
    assert "on noise" in scores.kid(a, b, on="noise").signature


def test_distributions_of_nuclear_sizes() -> None:
    small, large = [20.0, 30.0, 40.0], [120.0, 130.0, 140.0]
    assert scores.ks(small, large, of="nuclear areas in µm²").value == 1
    assert scores.wasserstein(small, large, of="nuclear areas in µm²").value == pytest.approx(100)
    assert scores.ks(small, small, of="x").value == scores.wasserstein(small, small, of="x").value == 0


def test_what_does_not_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="do not compare"):
        scores.ssim([A[:100]], [A])
    with pytest.raises(ValueError, match="do not compare"):
        scores.psnr([A.astype(float)], [A])
    with pytest.raises(ValueError, match="at least 161 px"):
        scores.ms_ssim([A[:128, :128]], [A[:128, :128]])
    with pytest.raises(ValueError, match="one image a reference"):
        scores.gmsd([], [])
    with pytest.raises(ValueError, match=r"\[n, D\]"):
        scores.kid(np.zeros((3, 4)), np.zeros((3, 5)), on="x")
    with pytest.raises(ValueError, match="one value"):
        scores.ks([], [1.0], of="x")
