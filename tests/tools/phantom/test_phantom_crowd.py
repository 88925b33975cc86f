"""New arguments of a phantom leave everything else of a seed as it was; bare glass needs no painting."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.phantom.plan import Plan
from pathagent_tools.phantom.world import make_phantom

SEED = 78_910_000


def test_further_look_alikes_come_beside_the_old_ones() -> None:
    plain, crowded = make_phantom(SEED), make_phantom(SEED, look_alikes=3)
    assert crowded.layout.look_alikes[: len(plain.layout.look_alikes)] == plain.layout.look_alikes
    assert crowded.artifacts[: len(plain.artifacts)] == plain.artifacts
    kinds = [p.kind for p in crowded.layout.look_alikes[len(plain.layout.look_alikes) :]]
    assert kinds.count("mild inflammation") == 3
    assert 0 < kinds.count("reactive glands") <= 3
    assert [a.kind for a in crowded.artifacts[len(plain.artifacts) :]] == ["crush"] * 3
    assert (crowded.diagnosis, crowded.stain, crowded.scanner) == (
        plain.diagnosis,
        plain.stain,
        plain.scanner,
    )
    same = (crowded.plan.zones == plain.plan.zones).mean()
    assert 0.8 < same < 1


def test_a_lesion_has_the_share_of_the_tissue_that_was_asked_for() -> None:
    phantom = make_phantom(SEED, diagnosis="solid carcinoma", lesion_share=0.05)
    share = phantom.diseased.mask.sum() / (phantom.layout.zones != 0).sum()
    assert share == pytest.approx(0.05, rel=0.05)
    with pytest.raises(UserError, match="lesion_share"):
        make_phantom(SEED, lesion_share=1.5)


def test_bare_glass_has_the_pixels_that_painting_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    phantom = make_phantom(SEED)
    glass = np.argwhere(phantom.layout.zones[:-16, :-16] == 0)
    corner = glass[np.linspace(0, len(glass) - 1, 9).astype(int)] * 8.0
    windows = [(float(x), float(y), 100.0, 100.0) for y, x in corner]
    quick = [phantom.render(w, 0.5) for w in windows]
    assert any(phantom.plan.is_glass(*w) for w in windows)
    monkeypatch.setattr(Plan, "is_glass", lambda *_: False)
    assert all(np.array_equal(q, phantom.render(w, 0.5)) for q, w in zip(quick, windows, strict=True))
