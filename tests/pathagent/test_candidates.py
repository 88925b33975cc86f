"""Places that may be looked at: fat is nearly blank, and is looked at where the question is about fat."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pathagent.agents import candidates
from pathagent.agents.navigation import _names_tissue

SHARES = {0: 0.9, 100: 0.9, 200: 0.4}
"""Left edge of a place → its share of tissue."""


def opened() -> Any:
    return SimpleNamespace(
        slide=SimpleNamespace(id="S1", mpp=0.5, bounds=(0, 0, 1000, 1000)),
        features=SimpleNamespace(
            coords=np.array([[x, 0] for x in SHARES]), features=np.eye(3, dtype=np.float32), size_level0=100
        ),
        tissue=SimpleNamespace(
            fractions=lambda boxes: np.array([SHARES[x] for x in boxes[:, 0]]),
            pen_fractions=lambda boxes: np.zeros(len(boxes)),
        ),
        anomaly=np.zeros(3),
        hints=["stroma", "normal glands", "adipose"],
        relevance=lambda goal: np.array([0.0, 0.0, 1.0]),
    )


@pytest.mark.parametrize(
    ("goal", "hints"),
    [
        (None, ["stroma", "normal glands"]),
        ("fields that show mucin", ["stroma", "normal glands"]),
        ("fields that show adipose", ["stroma", "normal glands", "adipose"]),
    ],
)
def test_a_nearly_blank_place_is_offered_where_it_is_asked_for(goal: str | None, hints: list[str]) -> None:
    pool = candidates.make_pool(opened(), tile_px=100, tile_mpp=0.5, goal=goal, known=True)
    assert pool.hints == hints


def test_abnormal_glands_do_not_name_normal_ones() -> None:
    assert _names_tissue("fields that show adipose", ["stroma", "adipose"])
    assert not _names_tissue("abnormal glands or tumour cells in tissue not yet seen", ["normal glands"])
