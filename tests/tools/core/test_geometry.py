"""Scale rules of the field: sizes in µm, grids without drift."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathagent_tools.core.geometry import Region, TileSpec


@pytest.mark.parametrize("mpp", [0.23, 0.25, 0.265, 0.30, 0.4955])
def test_a_tile_covers_the_same_tissue_on_every_scanner(mpp: float) -> None:
    spec = TileSpec(tile_px=256, mpp=0.5)
    assert spec.field_um == 128
    assert abs(spec.size_level0(mpp) * mpp - 128) <= mpp / 2


@pytest.mark.parametrize("mpp", [0.23, 0.265, 0.4955])
def test_the_hundredth_tile_has_not_drifted(mpp: float) -> None:
    spec = TileSpec(tile_px=256, mpp=0.5)
    origins = spec.origins(10**6, mpp)
    assert origins[99] == round(99 * spec.stride_level0(mpp))


@given(st.integers(1, 5000), st.floats(0.1, 2), st.integers(32, 512))
def test_tiles_never_leave_the_slide(length: int, mpp: float, tile_px: int) -> None:
    spec = TileSpec(tile_px=tile_px, mpp=1.0)
    for origin in spec.origins(length, mpp):
        assert origin >= 0
        assert origin + spec.size_level0(mpp) <= length + 1


def test_an_overlap_as_large_as_the_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller than tile_px"):
        TileSpec(tile_px=128, mpp=1.0, overlap_px=128)


def test_regions_of_two_slides_never_overlap() -> None:
    first = Region(slide="S1", x=0, y=0, width=10, height=10, mpp=1)
    assert first.overlap(first) == 1
    assert first.overlap(first.model_copy(update={"slide": "S2"})) == 0
    assert first.overlap(first.model_copy(update={"x": 5})) == pytest.approx(1 / 3)
