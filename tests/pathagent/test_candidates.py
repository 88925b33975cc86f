"""Places that may be looked at: fat is nearly blank, and is looked at where the question is about fat."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pathagent.agents import candidates
from pathagent.agents.navigation import _names_tissue, _quota, quota_size
from pathagent_tools.core.geometry import Region

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
            pieces_at=lambda points: np.zeros(len(points), np.intp),
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


def test_what_stands_out_at_the_edge_of_the_tissue_is_offered_too() -> None:
    slide = opened()
    slide.anomaly = np.array([0.0, 0.0, 0.9])
    slide.hints = ["stroma", "normal glands", "solid tumour nests"]
    pool = candidates.make_pool(slide, tile_px=100, tile_mpp=0.5, goal=None, known=True)
    assert pool.hints == slide.hints


def test_abnormal_glands_do_not_name_normal_ones() -> None:
    assert _names_tissue("fields that show adipose", ["stroma", "adipose"])
    assert not _names_tissue("abnormal glands or tumour cells in tissue not yet seen", ["normal glands"])


def places_in(pieces: list[int]) -> candidates.Pool:
    """Places in a row, the first ones the most anomalous by far."""
    n = len(pieces)
    anomaly = np.linspace(1.0, 0.1, n)
    return candidates.Pool(
        regions=[Region(slide="S1", x=200 * i, y=0, width=100, height=100, mpp=0.5) for i in range(n)],
        vectors=np.eye(n, dtype=np.float32),
        anomaly=anomaly,
        relevance=np.zeros(n),
        hints=["stroma"] * n,
        suspicion=anomaly,
        pieces=np.array(pieces, np.intp),
    )


def test_every_piece_of_tissue_is_offered_though_one_is_more_suspicious_throughout() -> None:
    pool = places_in([0] * 8 + [1, 2, 2])
    offered = [i for i, _, _ in candidates.rank(pool, [], candidates.FIRST_ROUND, 6, search=3)]
    assert offered[:3] == [0, 1, 2]
    assert {0, 1, 2} == {int(pool.pieces[i]) for i in offered}
    later = candidates.rank(pool, [pool.regions[8], pool.regions[9]], candidates.LATER_ROUNDS, 4)
    assert [i for i, _, _ in later] == [0, 1, 2, 3]


def test_a_later_round_looks_into_a_piece_that_nobody_has_seen() -> None:
    pool = places_in([0] * 5 + [1])
    best = [candidates.candidate(pool, i, 1.0, i + 1) for i in range(6)]
    assert [c.id for c in _quota(best, [best[5]], first=False, size=3)] == ["K1", "K2", "K6"]
    assert [c.id for c in _quota(best, [], first=False, size=3)] == ["K1", "K2", "K3"]
    assert [c.id for c in _quota(best, [best[5]], first=True, size=3)] == ["K1", "K2", "K3"]


def test_a_search_leaves_the_model_a_look_of_six_and_a_known_lesion_half() -> None:
    assert [quota_size(n, searching=True) for n in (1, 2, 6, 8, 12)] == [1, 2, 5, 7, 10]
    assert [quota_size(n, searching=False) for n in (1, 2, 6, 7)] == [1, 1, 3, 4]
