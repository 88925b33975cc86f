"""Our Muon is torch's, computed in float32."""

from __future__ import annotations

import pytest
import torch

from pathagent_finetune.muon import Float32Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_an_update_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.25
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(orthogonal(matrices), u @ v, dim=-1).min() > 0.9


def test_steps_are_those_of_torch() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(12, 20), torch.randn(4, 12, 20)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Float32Muon([ours], lr=0.01, weight_decay=0.1)
    stock = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        stock.step()
    moved = (theirs - start).abs().mean()
    assert (ours - theirs).abs().mean() < 0.02 * moved  # theirs rounds to bfloat16
