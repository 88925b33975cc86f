"""Scanning a slide: shapes on the edges, and when stored features may be used again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.encoders.scan import TileFeatures, scan_slide
from pathagent_tools.slides import open_slide, tissue_mask

MakeSlide = Callable[..., Path]
NewCheckpoint = Callable[..., Path]


def scan(path: Path, checkpoint: Path, store: Path | None = None, mpp: float | None = None) -> TileFeatures:
    with open_slide(path, mpp=mpp) as slide:
        return scan_slide(slide, tissue_mask(slide), loaded(checkpoint), store=store)


@cache
def loaded(checkpoint: Path) -> SlideEncoder:
    return load_encoder(f"local-dir:{checkpoint}")


def test_tiles_lie_on_the_tissue_in_level0_pixels(make_slide: MakeSlide, checkpoint: Path) -> None:
    scanned = scan(make_slide(), checkpoint)
    assert scanned.size_level0 == 128  # 64 px at 1.0 µm/px on a slide of 0.5 µm/px
    assert scanned.coords.dtype == np.int64 and scanned.features.dtype == np.float32
    assert sorted({int(x) for x in scanned.coords[:, 0]}) == [128, 256, 384, 512]
    assert scanned.region(0, "S1").width == 128 and scanned.region(0, "S1").mpp == 1.0


def test_features_are_those_of_the_pixels_at_their_coordinates(
    make_slide: MakeSlide, checkpoint: Path
) -> None:
    path, encoder = make_slide(), loaded(checkpoint)
    with open_slide(path) as slide:
        scanned = scan_slide(slide, tissue_mask(slide), encoder)
        last = len(scanned) - 1
        tile = slide.read(scanned.region(last, slide.id))
    np.testing.assert_allclose(encoder.encode_tiles(tile[None])[0], scanned.features[last], atol=1e-4)


def test_an_empty_slide_and_one_tile_keep_their_rank(
    make_slide: MakeSlide, checkpoint: Path, tmp_path: Path
) -> None:
    for tissue, n in ((None, 0), ((128, 128, 128, 128), 1)):
        path = make_slide(tissue=tissue, name=f"n{n}.tiff")
        for _ in range(2):  # fresh, then from the store
            scanned = scan(path, checkpoint, tmp_path / "store")
            assert scanned.coords.shape == (n, 2) and scanned.features.shape == (n, 32)
        assert scanned.reused


def test_stored_features_are_reused_only_when_the_key_matches(
    make_slide: MakeSlide,
    checkpoint: Path,
    new_checkpoint: NewCheckpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, store = make_slide(), tmp_path / "store"
    first = scan(path, checkpoint, store)
    again = scan(path, checkpoint, store)
    assert not first.reused and again.reused
    np.testing.assert_array_equal(first.features, again.features)

    other = new_checkpoint(tmp_path / "retrained", seed=1)
    with caplog.at_level(logging.WARNING):
        anew = scan(path, other, store)
    assert not anew.reused and "encoder_revision was" in caplog.text
    assert not np.allclose(anew.features, first.features, atol=1e-3)

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert not scan(path, other, store, mpp=0.4).reused
    assert "slide_mpp was 0.5, is 0.4" in caplog.text


def test_another_slide_of_the_same_name_is_not_taken_for_the_first(
    make_slide: MakeSlide, checkpoint: Path, tmp_path: Path
) -> None:
    scan(make_slide(name="one/a.tiff"), checkpoint, tmp_path / "store")
    assert not scan(make_slide(name="two/a.tiff", seed=5), checkpoint, tmp_path / "store").reused
    assert scan(make_slide(name="one/a.tiff"), checkpoint, tmp_path / "store").reused


def test_a_half_written_file_is_computed_anew(
    make_slide: MakeSlide, checkpoint: Path, tmp_path: Path
) -> None:
    path, store = make_slide(), tmp_path / "store"
    first = scan(path, checkpoint, store)
    (stored,) = store.rglob("*.h5")
    stored.write_bytes(stored.read_bytes()[:2000])
    again = scan(path, checkpoint, store)
    assert not again.reused
    np.testing.assert_array_equal(first.features, again.features)
    assert list(store.rglob("*.tmp")) == []


def test_the_store_is_readable_by_tridents_rule(
    make_slide: MakeSlide, checkpoint: Path, tmp_path: Path
) -> None:
    import h5py

    scanned = scan(make_slide(name="case7.tiff"), checkpoint, tmp_path / "store")
    (stored,) = (tmp_path / "store").rglob("*.h5")
    assert stored.parent.parent.name == "10x_64px_0px_overlap" and stored.parent.name == "features_tiny"
    with h5py.File(stored) as file:
        attributes = file["coords"].attrs
        assert attributes["patch_size"] == 64 and attributes["patch_size_level0"] == 128
        assert attributes["level0_magnification"] == 20 and attributes["target_magnification"] == 10
        np.testing.assert_array_equal(file["coords"][:], scanned.coords)
        np.testing.assert_array_equal(file["features"][:], scanned.features)


def test_another_tile_size_is_refused_with_the_right_pair(make_slide: MakeSlide, checkpoint: Path) -> None:
    encoder = loaded(checkpoint)
    with open_slide(make_slide()) as slide, pytest.raises(UserError, match=r"TileSpec\(tile_px=64, mpp=1\)"):
        scan_slide(slide, tissue_mask(slide), encoder, spec=TileSpec(tile_px=256, mpp=0.5))
