"""Scale bars, maps and the numbers on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathagent.report.figures import Box, Overview, map_of, scale_bar
from pathagent.report.labels import place_labels
from pathagent_tools.core.geometry import Region


@pytest.mark.parametrize(
    ("width", "text"), [(192, "50 µm"), (1536, "500 µm"), (20_000, "5 mm"), (60, "20 µm")]
)
def test_a_scale_bar_has_a_round_length(width: float, text: str) -> None:
    assert scale_bar(width).text == text


@given(st.floats(min_value=5, max_value=1e6))
def test_a_scale_bar_is_true_and_fits(width_um: float) -> None:
    bar = scale_bar(width_um)
    assert bar.share == pytest.approx(bar.um / width_um)
    assert 0.1 < bar.share <= 0.3601


def test_the_map_drops_the_empty_border_and_keeps_every_region() -> None:
    rgb = np.full((400, 600, 3), 245, np.uint8)
    rgb[100:200, 300:400] = (220, 150, 190)
    far = Region(slide="S1", x=50 * 10, y=350 * 10, width=200, height=200, mpp=1)
    near = Region(slide="S1", x=320 * 10, y=120 * 10, width=300, height=300, mpp=1)
    cropped = map_of(Overview(rgb, 10.0), [near])
    assert cropped.rgb.shape[0] < 200 and cropped.rgb.shape[1] < 200
    box = cropped.box(near)
    shown = cropped.rgb[int(box.y) + 2, int(box.x) + 2]
    assert tuple(shown) == (220, 150, 190)
    box = map_of(Overview(rgb, 10.0), [far, near]).box(far)
    assert box.x >= 0 and box.y >= 0


def test_an_empty_or_black_slide_is_shown_whole() -> None:
    for value in (0, 245):
        rgb = np.full((100, 200, 3), value, np.uint8)
        assert map_of(Overview(rgb, 10.0), []).rgb.shape == (100, 200, 3)


def test_numbers_of_neighbours_do_not_hide_each_other() -> None:
    boxes = [Box(x=100 + 24 * i, y=100, width=20, height=20) for i in range(5)]
    labels = place_labels(boxes, [(20, 12)] * 5, width=400, height=300)
    for i, a in enumerate(labels):
        for b in labels[i + 1 :]:
            apart = (
                a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
            )
            assert apart
        assert 0 <= a.x <= 400 - a.width and 0 <= a.y <= 300 - a.height
