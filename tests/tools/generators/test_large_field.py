"""A large field leaves as a pyramidal TIFF that OpenSlide opens, marked, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest

from pathagent_tools.core.errors import PathAgentError
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.marking import band, slide_writing, watermark
from pathagent_tools.generators.marking.slide_writing import write_synthetic_slide
from pathagent_tools.generators.marking.verify import verify
from pathagent_tools.generators.marking.writing import Origin
from pathagent_tools.phantom.field import sample_field

ORIGIN = Origin(
    task="field", title="a field", reason="a test", request={}, seed=7, generator="g", revision="r"
)  # fmt: skip


def strips(image: Image, height: int = 100) -> Iterator[Image]:
    for y in range(0, len(image), height):
        yield image[y : y + height]


def test_a_field_opens_in_openslide_with_its_resolution_and_its_marks(tmp_path: Path) -> None:
    image = np.tile(sample_field(33, px=256, mpp=1.0, partner="stain").image, (2, 2, 1))[:512, :500]
    record = write_synthetic_slide(strips(image), (512, 500), 1.0, tmp_path, "field", ORIGIN)
    path = tmp_path / "synthetic" / record.file
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (500, 512)
        assert slide.level_count >= 2 and slide.level_dimensions[1] == (125, 128)
        assert float(slide.properties["openslide.mpp-x"]) == 1.0
        low = np.asarray(slide.read_region((0, band.HEIGHT), 0, (500, 480)).convert("RGB"))
    true = image[band.HEIGHT : band.HEIGHT + 480]
    assert np.abs(low.astype(float) - true).mean() < 12
    marks = verify(path)
    assert set(marks.found) == {"band", "watermark", "metadata", "manifest", "name"}
    assert marks.intact and marks.record["seed"] == 7
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert verify(path).intact is False


def test_a_field_whose_mark_is_not_found_again_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "embed_lightly", lambda strip: strip)
    image = np.tile(sample_field(33, px=256, mpp=1.0, partner="stain").image, (2, 2, 1))
    with pytest.raises(PathAgentError, match="watermark could not be read again"):
        write_synthetic_slide(strips(image), (512, 512), 1.0, tmp_path, "field", ORIGIN)
    assert list((tmp_path / "synthetic").iterdir()) == []


def test_strips_are_cut_anew_without_loss() -> None:
    image = np.arange(1300 * 2 * 3).reshape(1300, 2, 3).astype(np.uint8)
    parts = list(slide_writing._strips(strips(image, 224), 1300))
    assert [len(p) for p in parts] == [512, 512, 276]
    assert np.array_equal(np.concatenate(parts), image)
