"""Tissue is found at any strength of stain; pen, dust and an empty slide are not tissue."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.core.geometry import Region
from pathagent_tools.slides import check_quality, open_slide, tissue_mask

WHITE, PINK, PALE = (244, 244, 244), (214, 140, 190), (238, 222, 234)
GREEN_INK, BLUE_INK, RED_INK, BLACK_INK, THIN_BLACK_INK = (
    (20, 120, 60), (60, 90, 180), (206, 96, 108), (30, 30, 34), (92, 92, 95),
)  # fmt: skip


def canvas(height: int = 1500, width: int = 2000) -> np.ndarray:
    return np.full((height, width, 3), WHITE, np.uint8)


def disc(rgb: np.ndarray, x: int, y: int, radius: int, colour: tuple[int, int, int]) -> None:
    rows, cols = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    rgb[(rows - y) ** 2 + (cols - x) ** 2 <= radius**2] = colour


@pytest.mark.parametrize("colour", [PINK, PALE])
def test_two_pieces_with_their_area_and_position(write_slide, colour):
    rgb = canvas()
    disc(rgb, 500, 700, 300, colour)
    disc(rgb, 1500, 700, 200, colour)
    disc(rgb, 1000, 1300, 12, colour)  # dust
    with open_slide(write_slide(rgb, mpp=1.0)) as slide:
        tissue = tissue_mask(slide)
    at = np.array([[1500, 700], [500, 700], [1000, 1300]], np.float64)
    assert tissue.pieces_at(at).tolist() == [1, 0, -1]
    truth = np.pi * (0.3**2 + 0.2**2)
    assert tissue.area_mm2 == pytest.approx(truth, rel=0.06)
    assert [
        round(p.area_mm2 / (np.pi * r**2), 1) for p, r in zip(tissue.pieces, (0.3, 0.2), strict=True)
    ] == [
        1,
        1,
    ]
    big = tissue.pieces[0]
    assert (big.x, big.y, big.width) == pytest.approx((200, 400, 600), abs=25)
    inside = Region(slide="S1", x=400, y=600, width=200, height=200, mpp=1.0)
    assert tissue.fraction(inside) == 1
    assert tissue.fraction(inside.model_copy(update={"x": 900})) == 0


@pytest.mark.parametrize("ink", [GREEN_INK, BLUE_INK, RED_INK, BLACK_INK, THIN_BLACK_INK])
def test_pen_is_not_tissue(write_slide, ink):
    rgb = canvas()
    disc(rgb, 600, 700, 300, PINK)
    rgb[200:1300, 1500:1560] = ink
    with open_slide(write_slide(rgb, mpp=1.0)) as slide:
        tissue = tissue_mask(slide)
        quality = check_quality(slide, tissue)
    assert len(tissue.pieces) == 1
    assert 0.1 < quality.pen_fraction < 0.4
    beside, across = tissue.pen_fractions(np.array([[400, 600, 100, 100], [1480, 400, 100, 100]]))
    assert beside == 0
    assert across > 0.5
    assert any("pen marks" in finding for finding in quality.findings)


def test_the_dark_rim_of_an_air_bubble_is_no_pen(write_slide):
    rgb = canvas()
    disc(rgb, 600, 700, 300, PINK)
    disc(rgb, 1500, 700, 400, THIN_BLACK_INK)
    disc(rgb, 1500, 700, 388, WHITE)
    with open_slide(write_slide(rgb, mpp=1.0)) as slide:
        assert not tissue_mask(slide).pen.any()


def test_empty_slide_has_no_tissue(write_slide):
    noise = np.random.default_rng(0).normal(0, 2, (1500, 2000, 3))
    rgb = np.clip(canvas() + noise, 0, 255).astype(np.uint8)
    with open_slide(write_slide(rgb)) as slide:
        tissue = tissue_mask(slide)
        quality = check_quality(slide, tissue)
    assert tissue.pieces == ()
    assert (quality.blank, quality.outcome, quality.usable) == (True, "no tissue", False)
