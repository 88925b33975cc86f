"""A phantom on disk: read by OpenSlide like a scan, the same bytes every time, and it gives nothing away."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from pathagent_tools.phantom.slide import write_slide
from pathagent_tools.phantom.truth import PhantomTruth
from pathagent_tools.phantom.world import Phantom, make_phantom

SEED = 90417


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SEED, diagnosis="mucinous carcinoma", lesion_mm=0.4)


@pytest.fixture(scope="module")
def folder(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slide")
    write_slide(phantom, folder, name="case")
    return folder


def test_openslide_reads_scale_and_levels(folder: Path) -> None:
    with openslide.OpenSlide(str(folder / "case.tiff")) as slide:
        assert slide.properties["openslide.mpp-x"] == "0.5"
        assert slide.properties["openslide.objective-power"] == "20"
        assert slide.level_dimensions == ((3072, 3072), (768, 768), (192, 192))
        assert not slide.associated_images


def test_pixels_are_the_rendered_ones(folder: Path, phantom: Phantom) -> None:
    rows, columns = np.nonzero(phantom.diseased.mask)
    x, y = int(columns.mean() * 16) // 2 * 2, int(rows.mean() * 16) // 2 * 2
    with openslide.OpenSlide(str(folder / "case.tiff")) as slide:
        read = np.asarray(slide.read_region((x, y), 0, (256, 256)).convert("RGB")).astype(int)
    drawn = phantom.render((x / 2, y / 2, 128, 128), 0.5).astype(int)
    assert np.abs(read - drawn).mean() < 4 and drawn.std() > 15


def test_file_gives_nothing_away(folder: Path) -> None:
    with tifffile.TiffFile(folder / "case.tiff") as tiff:
        text = " ".join(
            str(tag.value) for page in tiff.pages for tag in page.tags.values() if tag.count < 2000
        )
    assert str(SEED) not in text
    assert not any(word in text.lower() for word in ("carcinoma", "lesion", "grade", "mucin", "phantom"))


def test_same_seed_same_bytes(folder: Path, phantom: Phantom, tmp_path: Path) -> None:
    again = write_slide(make_phantom(SEED, diagnosis="mucinous carcinoma", lesion_mm=0.4), tmp_path, name="b")
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (folder / "case.tiff", again)]
    assert digests[0] == digests[1]
    assert (folder / "truth.json").read_bytes() == (tmp_path / "truth.json").read_bytes()


def test_truth_reads_back_and_adds_up(folder: Path, phantom: Phantom) -> None:
    truth = PhantomTruth.model_validate(json.loads((folder / "truth.json").read_text()))
    assert truth.diagnosis == "mucinous carcinoma" and truth.facts.architecture == "mucin pools"
    assert sum(truth.class_mm2.values()) == pytest.approx((3072 * 0.5e-3) ** 2, rel=0.01)
    assert truth.tissue_mm2 == pytest.approx(
        sum(truth.class_mm2.values()) - truth.class_mm2["background"], rel=0.01
    )
    map_ = truth.tissue_map.array()
    assert map_.shape == (96, 96)
    assert (map_ != 0).mean() * 3072**2 * 0.25e-6 == pytest.approx(truth.tissue_mm2, rel=0.05)
    assert len(truth.reports) >= 6 and len(truth.questions) > 30


def test_lesion_polygon_surrounds_the_tumour(folder: Path, phantom: Phantom) -> None:
    from shapely import Point, Polygon

    truth = PhantomTruth.model_validate(json.loads((folder / "truth.json").read_text()))
    area = [Polygon(p).buffer(40) for p in truth.lesion_polygons]
    table = phantom.plan.nuclei_inside(0, 0, phantom.side_um, phantom.side_um)
    tumour = table[table[:, 2] == 3][:, :2] / 0.5
    inside = [any(a.contains(Point(*p)) for a in area) for p in tumour]
    assert len(inside) == truth.nuclei["tumour"] > 20 and np.mean(inside) > 0.97
    assert sum(Polygon(p).area for p in truth.lesion_polygons) * 0.25e-6 == pytest.approx(
        truth.lesion_mm2, rel=0.06
    )
