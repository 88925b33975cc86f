"""The tissue map of the embedded encoder and the size of a lesion, beside the truth of a phantom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.encoders.clip import OpenClipEncoder
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.encoders.scan import TileFeatures, scan_slide
from pathagent_tools.encoders.tissue_map import (
    TISSUE_FILE,
    TUMOUR_GRADE,
    head_of,
    mapped_tissues,
    read_field,
    tissue_shares,
)
from pathagent_tools.measure import extent
from pathagent_tools.measure.extent import Extent, lesion_extent
from pathagent_tools.phantom.camera import shrink
from pathagent_tools.phantom.classes import CLASSES
from pathagent_tools.phantom.reports import lesion_diameter_mm
from pathagent_tools.phantom.slide import write_slide
from pathagent_tools.phantom.tile import sample_tile
from pathagent_tools.phantom.truth import PhantomTruth, truth_of
from pathagent_tools.phantom.world import make_phantom
from pathagent_tools.slides import Slide, open_slide, tissue_mask
from pathagent_tools.vlm import roles


@pytest.fixture(scope="module")
def encoder() -> OpenClipEncoder:
    found = load_encoder("embedded")
    assert isinstance(found, OpenClipEncoder)
    return found


def test_the_map_names_the_tissue_of_most_cells(encoder: OpenClipEncoder) -> None:
    samples = [sample_tile(9_400_000 + i, field_um=128.0, px=128, split="test") for i in range(24)]
    names, shares = tissue_shares(encoder, np.stack([s.image for s in samples]))
    assert shares.shape == (24, 8, 8, 10) and np.allclose(shares.sum(-1), 1, atol=1e-5)
    middles = np.stack([s.label_map[8::16, 8::16] for s in samples])
    plain = (middles < 10) & (middles > 0)
    said = np.array(names)[shares.argmax(-1)]
    true = np.vectorize(CLASSES.__getitem__)(middles)
    assert (said == true)[plain].mean() > 0.65
    commonest = max((true[plain] == name).mean() for name in names)
    assert (said == true)[plain].mean() > commonest + 0.3


def test_an_encoder_without_a_head_has_no_map(
    encoder: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "folder", None)
    assert head_of(encoder) is None
    with pytest.raises(UserError, match=rf"no {TISSUE_FILE}: use the embedded encoder"):
        tissue_shares(encoder, np.zeros((1, 128, 128, 3), np.uint8))
    assert read_field(encoder, np.zeros((192, 192, 3), np.uint8)) == ()


def test_a_field_is_read_with_the_tissue_that_it_mainly_shows(encoder: OpenClipEncoder) -> None:
    samples = [sample_tile(9_400_100 + i, field_um=192.0, px=192, split="test") for i in range(40)]
    read = [read_field(encoder, s.image) for s in samples]
    said = [roles.measurements_text(found, 192.0).removeprefix("map ").split(", ")[0] for found in read]
    assert np.mean([w == s.findings.tissue for w, s in zip(said, samples, strict=True)]) > 0.85
    graded = [
        (next(m.value for m in found if m.name == TUMOUR_GRADE), s.findings.nuclear_grade)
        for found, s in zip(read, samples, strict=True)
        if s.findings.tissue == "invasive tumour" and any(m.name == TUMOUR_GRADE for m in found)
    ]
    assert np.mean([SLOTS["nuclear_grade"][int(value)] == true for value, true in graded]) > 0.7
    assert all(m.value >= 5 for found in read for m in found if m.unit == "%")


def test_a_field_of_any_size_is_covered_and_one_below_a_tile_is_not_read(encoder: OpenClipEncoder) -> None:
    field = sample_tile(9_400_200, field_um=384.0, px=384, split="test").image
    for height, width in ((384, 384), (200, 310), (128, 128)):
        found = [m.value for m in read_field(encoder, field[:height, :width]) if m.unit == "%"]
        assert 85 <= sum(found) <= 102
    assert read_field(encoder, field[:127, :300]) == ()


@pytest.fixture(scope="module")
def scanned(
    tmp_path_factory: pytest.TempPathFactory, encoder: OpenClipEncoder
) -> Iterator[tuple[Slide, TileFeatures, PhantomTruth]]:
    phantom = make_phantom(91_000_020, diagnosis="adenoma", lesion_mm=0.7, artifacts=False)
    path = write_slide(phantom, tmp_path_factory.mktemp("extent"), name="slide.tiff")
    with open_slide(path) as slide:
        yield slide, scan_slide(slide, tissue_mask(slide), encoder), truth_of(phantom)


def look_at(truth: PhantomTruth) -> Region:
    """A field in the middle of the lesion."""
    x, y = np.mean(truth.lesion_polygons[0], axis=0)
    return Region(slide="S1", x=int(x) - 128, y=int(y) - 128, width=256, height=256, mpp=1.0)


def test_the_lesion_under_a_look_is_as_large_as_the_truth_says(
    scanned: tuple[Slide, TileFeatures, PhantomTruth], encoder: OpenClipEncoder
) -> None:
    slide, tiles, truth = scanned
    found = lesion_extent(slide, tiles, encoder, ["dysplastic epithelium"], [look_at(truth)])
    assert found is not None and found.whole and found.sharp
    assert found.diameter_mm == pytest.approx(lesion_diameter_mm(truth), rel=0.1)
    assert found.range_mm[0] <= found.diameter_mm <= found.range_mm[1]


def test_an_edge_is_sharp_where_it_lies_in_one_place_however_much_of_the_map_counts() -> None:
    assert Extent(0.05, whole=True, least_mm2=0.045, most_mm2=0.06).sharp
    assert not Extent(0.05, whole=True, least_mm2=0.02, most_mm2=0.06).sharp
    assert not Extent(0.05, whole=True, least_mm2=0.0, most_mm2=0.06).sharp


def test_a_tumour_between_stroma_counts_from_less_of_a_cell_than_glands_do(
    scanned: tuple[Slide, TileFeatures, PhantomTruth],
    encoder: OpenClipEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slide, tiles, truth = scanned
    map_of = partial(_as_tumour, tissue_shares)
    monkeypatch.setattr(extent, "tissue_shares", map_of)
    pools = lesion_extent(slide, tiles, encoder, ["invasive tumour", "necrosis", "mucin"], [look_at(truth)])
    between = lesion_extent(slide, tiles, encoder, ["invasive tumour", "necrosis"], [look_at(truth)])
    assert pools is not None and between is not None
    assert pools.area_mm2 == pools.least_mm2 < between.area_mm2 < between.most_mm2


def _as_tumour(
    read: Callable[..., tuple[tuple[str, ...], NDArray[np.float32]]], *given: Any
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The map with dysplastic epithelium under the name of tumour."""
    names, shares = read(*given)
    new = {"dysplastic epithelium": "invasive tumour", "invasive tumour": "dysplastic epithelium"}
    return tuple(new.get(name, name) for name in names), shares


def test_reading_stops_at_its_limit_and_says_so(
    scanned: tuple[Slide, TileFeatures, PhantomTruth], encoder: OpenClipEncoder
) -> None:
    slide, tiles, truth = scanned
    part = lesion_extent(slide, tiles, encoder, ["dysplastic epithelium"], [look_at(truth)], most_tiles=6)
    assert part is not None and not part.whole
    assert part.area_mm2 <= 6 * 0.128**2 * 1.5


def test_nothing_is_measured_where_no_look_lies_on_the_lesion(
    scanned: tuple[Slide, TileFeatures, PhantomTruth], encoder: OpenClipEncoder
) -> None:
    slide, tiles, truth = scanned
    centre = np.mean(truth.lesion_polygons[0], axis=0)
    far = max(range(len(tiles)), key=lambda i: float(np.linalg.norm(tiles.coords[i] - centre)))
    elsewhere = [tiles.region(far, "S1")]
    assert lesion_extent(slide, tiles, encoder, ["dysplastic epithelium"], elsewhere) is None
    assert lesion_extent(slide, tiles, encoder, ["dysplastic epithelium"], []) is None


def test_a_small_field_is_read_in_its_surroundings_which_do_not_count(encoder: OpenClipEncoder) -> None:
    """A closer look is smaller than a tile of the encoder: 96 of 128 µm."""
    samples = [
        sample_tile(9_440_000 + i, field_um=96.0, px=192, margin_px=32, split="test") for i in range(60)
    ]
    read = [read_field(encoder, shrink(s.image, 2), margin=16) for s in samples]
    right = [mapped_tissues(r)[0] == s.findings.tissue for r, s in zip(read, samples, strict=True)]
    assert np.mean(right) >= 0.85
    tiles = [sample_tile(9_410_000 + i, field_um=128.0, px=128) for i in range(200)]
    fat = next(s.image for s in tiles if s.class_fractions["adipose"] > 0.9)
    muscle = next(s.image for s in tiles if s.class_fractions["smooth muscle"] > 0.9)
    framed = fat.copy()
    framed[16:112, 16:112] = muscle[16:112, 16:112]
    shares = [{m.name: m.value for m in read_field(encoder, framed, margin=m)} for m in (0, 16)]
    assert shares[0]["share_of_adipose"] > 10 > 2 * shares[1].get("share_of_adipose", 0)
