"""The lymphocyte counter: densities of phantom fields, of parts of a slide, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.vocabulary import inflammation_of
from pathagent_tools.measure.lymphocytes import LymphocyteCounter, density_in
from pathagent_tools.phantom.tile import sample_tile

UNSEEN = 9_800_000


def test_the_density_of_most_fields_names_their_inflammation() -> None:
    counter = LymphocyteCounter.load()
    samples = [sample_tile(UNSEEN + i, field_um=192.0, px=384, split="test") for i in range(40)]
    tissue = [1 - s.class_fractions["background"] for s in samples]
    said = [counter.measure(s.image, 0.5, t).value for s, t in zip(samples, tissue, strict=True)]
    true = [s.findings.inflammation for s in samples]
    assert np.mean([inflammation_of(d) == w for d, w in zip(said, true, strict=True)]) > 0.85
    assert len(set(true)) == 3


def test_a_field_of_another_resolution_is_refused_and_a_folder_without_weights_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lymphocyte counter reads 0\.5 µm per px and was given 1"):
        LymphocyteCounter.load().measure(np.zeros((64, 64, 3), np.uint8), 1.0)
    with pytest.raises(UserError, match="pathagent finetune lymphocytes"):
        LymphocyteCounter.load(tmp_path)


class OnePerPlace:
    """Expects one lymphocyte in each place of dark pixels, so that a density is known."""

    config = SimpleNamespace(mpp=0.5)

    def __init__(self) -> None:
        self.fields = 0

    def reads(self, mpp: float) -> bool:
        return mpp == 0.5

    def expected(self, fields: Any) -> Any:
        self.fields += len(fields)
        return (fields[:, ::4, ::4, 0] < 128).astype(np.float32)


class Halved:
    """A slide at 0.5 µm per px that is dark left of x = 1,152."""

    id, mpp = "S1", 0.5

    def __init__(self) -> None:
        self.read_at: list[int] = []

    def read(self, region: Region) -> Any:
        self.read_at.append(region.x)
        x = region.x + np.arange(region.width)
        return np.broadcast_to(np.where(x < 1152, 0, 255)[None, :, None], (region.height, len(x), 3)).astype(
            np.uint8
        )


def tiles() -> Any:
    """A row of 64 tiles of 128 µm."""

    def region(index: int, slide: str) -> Region:
        return Region(slide=slide, x=256 * index, y=512, width=256, height=256, mpp=1.0)

    return SimpleNamespace(spec=SimpleNamespace(tile_px=128, mpp=1.0), region=region)


def density(cells: dict[int, Any], **more: Any) -> Any:
    return density_in(Halved(), tiles(), OnePerPlace(), cells, **more)  # type: ignore[arg-type]


def test_a_density_is_of_the_cells_alone() -> None:
    whole = density({4: np.ones((8, 8), np.float32)})
    assert whole.mm2 == pytest.approx(0.128**2)
    assert whole.per_mm2 * whole.mm2 == pytest.approx(64 * 64 / 2)  # tile 4 is dark up to its middle
    left = np.zeros((8, 8), np.float32)
    left[:, :4] = 1
    assert density({4: left}).per_mm2 == pytest.approx(2 * whole.per_mm2)
    assert density({4: 1 - left}).per_mm2 == 0
    assert density({4: np.full((1, 1), 0.5, np.float32)}).per_mm2 == pytest.approx(2 * whole.per_mm2)


def test_of_many_tiles_some_are_counted_from_end_to_end_and_no_cells_are_no_density() -> None:
    slide, counter = Halved(), OnePerPlace()
    cells = {i: np.ones((8, 8), np.float32) for i in range(64)}
    found = density_in(slide, tiles(), counter, cells, most_tiles=8)  # type: ignore[arg-type]
    assert counter.fields == 8 and (min(slide.read_at), max(slide.read_at)) == (-32, 63 * 256 - 32)
    assert found is not None and found.mm2 == pytest.approx(8 * 0.128**2)
    assert density({}) is None and density({3: np.zeros((8, 8), np.float32)}) is None


def test_a_slide_that_is_too_coarse_is_not_counted() -> None:
    slide: Any = SimpleNamespace(id="S1", mpp=1.0)
    cells = {1: np.ones((8, 8), np.float32)}
    assert density_in(slide, tiles(), OnePerPlace(), cells) is None  # type: ignore[arg-type]
