"""Stain, colour order and focus, on dyes of our own mixing and on public slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pathagent_tools.slides import check_quality, open_slide, tissue_mask
from pathagent_tools.slides.background import find_background
from pathagent_tools.slides.quality import sample_fields
from pathagent_tools.slides.stain_kind import StainFinding, stain_of_pixels

DAB, SILVER, AZURE = (0.27, 0.57, 0.78), (0.20, 0.45, 0.87), (0.86, 0.48, 0.18)
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.10, 0.97, 0.22)
IHC = "not H&E: brown chromogen (immunohistochemistry)"
ATLAS = {"d03": "Giemsa-like", "d04": "silver", "d05": IHC}


def mixed(ground: tuple[float, ...], nuclei: tuple[float, ...], white: float = 244.0) -> np.ndarray:
    """A field of 512 px: ground dye with spots of a second dye, and an empty corner."""
    random = np.random.default_rng(0)
    spots = ndimage.gaussian_filter(random.random((512, 512)), 5)
    spots = spots > np.percentile(spots, 78)
    density = 0.6 * np.ones((512, 512, 1)) * np.array(ground) * random.uniform(0.8, 1.2, (512, 512, 1))
    density[spots] = 0.2 * np.array(ground) + 1.2 * np.array(nuclei)
    density[:120, :120] = 0
    return np.clip(white * np.exp(-density), 0, 255).astype(np.uint8)


def test_dyes_of_our_own_mixing_are_told_apart():
    he = mixed(EOSIN, HAEMATOXYLIN)
    assert stain_of_pixels(he).kind == "H&E"
    assert not stain_of_pixels(he).wrong_colours
    assert stain_of_pixels(he[..., ::-1].copy()).wrong_colours
    assert stain_of_pixels(mixed(HAEMATOXYLIN, DAB)).kind == IHC
    assert stain_of_pixels(mixed(SILVER, SILVER)).kind == "silver"
    assert stain_of_pixels(mixed(AZURE, AZURE)).kind == "Giemsa-like"
    glow = (255 - mixed(EOSIN, HAEMATOXYLIN)) // 5
    assert stain_of_pixels(glow).kind == "fluorescence"


def tiles(folder: Path, pattern: str) -> list[tuple[str, StainFinding]]:
    files = sorted(folder.glob(pattern))
    assert files
    return [(f.name, stain_of_pixels(np.asarray(Image.open(f).convert("RGB")))) for f in files]


@pytest.mark.parametrize("pattern", ["tiles_gleason/img/*", "tiles_glas/img/*", "tiles_camelyon16/*/*"])
def test_public_he_tiles_are_he(shared_data, pattern):
    found = tiles(shared_data, pattern)
    assert [name for name, f in found if f.kind != "H&E" or f.wrong_colours] == []


def test_public_ihc_tiles_are_ihc(shared_data):
    found = tiles(shared_data, "tiles_nuclick_ihc/img/*")
    assert [name for name, f in found if f.kind != IHC] == []


def test_public_channel_swapped_tiles_are_noticed_and_right_again_when_exchanged(shared_data):
    found = tiles(shared_data, "tiles_channel_swapped/*/img/*")
    assert sum(not f.wrong_colours for _, f in found) <= 1  # 13 of 14: one clipped white hides it
    for file in sorted(shared_data.glob("tiles_channel_swapped/*/img/*")):
        rgb = np.asarray(Image.open(file).convert("RGB"))[..., ::-1]
        assert not stain_of_pixels(np.ascontiguousarray(rgb)).wrong_colours


def test_public_consecutive_sections(shared_data):
    for file in sorted((shared_data / "stain/consecutive_sections").glob("*.jpg")):
        found = stain_of_pixels(np.asarray(Image.open(file).convert("RGB")), um_per_px=5.0)
        assert (found.kind == "H&E") == ("-He-" in file.name), file.name
        assert not found.wrong_colours


@pytest.mark.parametrize("name", [f"d{i:02}" for i in range(1, 13)])
def test_public_atlas_slides(shared_data, name):
    own = name in ("d01", "d09")
    with open_slide(shared_data / f"wsi_atlas/{name}.tiff", mpp=None if own else 0.5) as slide:
        quality = check_quality(slide, tissue_mask(slide))
    assert quality.stain == ATLAS.get(name, "H&E")
    assert not quality.wrong_colours
    expected = "not H&E" if name in ATLAS else "resolution too coarse" if name == "d09" else "report"
    assert quality.outcome == expected
    assert quality.focus > 0.9
    assert quality.pen_fraction < 0.01


def lit(rgb: np.ndarray, gains: np.ndarray) -> np.ndarray:
    return np.clip(rgb * gains, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["d01", "d08", "d10"])
def test_colour_jitter_leaves_he_he(shared_data, name):
    with open_slide(shared_data / f"wsi_atlas/{name}.tiff", mpp=0.5) as slide:
        fields, um = sample_fields(slide, tissue_mask(slide), n=8)
        overview, _ = slide.thumbnail(512)
    random = np.random.default_rng(0)
    for _ in range(6):
        gains = random.uniform(0.85, 1.15, 3)
        gains *= min(1.0, 255 / (gains.max() * 250))  # a scanner does not clip its white
        white = find_background(lit(overview, gains)).rgb
        found = stain_of_pixels(lit(fields, gains), white=white, um_per_px=um)
        assert (found.kind, found.wrong_colours) == ("H&E", False)


@pytest.mark.parametrize(
    ("name", "stain", "outcome"),
    [
        ("cmu-1-small-region.svs", "H&E", "report"),
        ("cmu-1-small-region_dicom", "unclear", "wrong colours"),
        ("fluorescence_tritc.ndpi", "fluorescence", "not H&E"),
    ],
)
def test_public_scanner_files(shared_data, name, stain, outcome):
    with open_slide(shared_data / "wsi_small" / name) as slide:
        quality = check_quality(slide, tissue_mask(slide))
    assert (quality.stain, quality.outcome) == (stain, outcome)
    assert quality.wrong_colours == (outcome == "wrong colours")


def test_blurred_slide_is_unusable(write_slide):
    rgb = np.full((1500, 1500, 3), 244, np.uint8)
    rgb[200:1200, 200:1200] = np.tile(mixed(EOSIN, HAEMATOXYLIN)[160:360, 160:360], (5, 5, 1))
    with open_slide(write_slide(rgb, name="sharp.tiff")) as slide:
        assert check_quality(slide, tissue_mask(slide)).outcome == "report"
    blurred = ndimage.gaussian_filter(rgb, (7, 7, 0))
    with open_slide(write_slide(blurred, name="blurred.tiff")) as slide:
        quality = check_quality(slide, tissue_mask(slide))
    assert quality.outcome == "unusable quality"
    assert any("out of focus" in finding for finding in quality.findings)
