"""Tiny real slides: tiled TIFFs of a few hundred pixels, written as scanners write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
WriteSlide = Callable[..., Path]
WHITE = 244
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.10, 0.97, 0.22)


def stained(amount: NDArray[np.floating], dye: tuple[float, float, float], onto: Pixels) -> Pixels:
    """Absorb light: Beer–Lambert with `amount` [h, w] of a dye over a picture."""
    density = amount[..., None] * np.array(dye)
    return np.asarray(np.clip(onto * np.exp(-density), 0, 255), np.uint8)


def he_field(height: int, width: int, *, seed: int = 0, spacing: int = 24, radius: float = 6.0) -> Pixels:
    """Eosin ground with round haematoxylin nuclei on a jittered lattice."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    nuclei = np.zeros((height, width), bool)
    for y in range(spacing // 2, height, spacing):
        for x in range(spacing // 2, width, spacing):
            cy, cx = np.array([y, x]) + random.uniform(-3, 3, 2)
            nuclei |= (rows - cy) ** 2 + (cols - cx) ** 2 <= radius**2
    ground = 0.45 + 0.15 * random.random((height, width))
    picture = stained(ground, EOSIN, np.full((height, width, 3), WHITE, np.uint8))
    return stained(nuclei * 1.1, HAEMATOXYLIN, picture)


@pytest.fixture
def write_slide(tmp_path: Path) -> WriteSlide:
    """`write_slide(rgb, mpp=0.5, mpp_y=None, name=…)` → path of a tiled TIFF that OpenSlide reads."""

    def write(
        rgb: Pixels, *, mpp: float | None = 0.5, mpp_y: float | None = None, name: str = "slide.tiff"
    ) -> Path:
        path = tmp_path / name
        resolution = None if mpp is None else (1e4 / mpp, 1e4 / (mpp_y or mpp))
        tifffile.imwrite(
            path,
            rgb,
            tile=(256, 256),
            photometric="rgb",
            compression="zlib",
            metadata=None,
            resolution=resolution,
            resolutionunit="NONE" if mpp is None else "CENTIMETER",
        )
        return path

    return write


@pytest.fixture
def ramp() -> Pixels:
    """[600, 900, 3]: red grows with x, green with y, so that a picture tells where it comes from."""
    picture = np.full((600, 900, 3), 128, np.uint8)
    picture[..., 0] = (np.arange(900) * 255 / 900).astype(np.uint8)
    picture[..., 1] = (np.arange(600) * 255 / 600).astype(np.uint8)[:, None]
    return picture


@pytest.fixture(scope="session")
def optical() -> Pixels:
    """[1100, 1500, 3]: stained tissue as sharp as optics allow."""
    picture = Image.fromarray(np.tile(he_field(288, 288), (4, 6, 1))[:1100, :1500])
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(1.0)))


@pytest.fixture
def jpeg_slide(tmp_path: Path, optical: Pixels) -> Callable[..., Path]:
    """`jpeg_slide(colours="ycbcr", levels=2, codec="jpeg")`: 1500 × 1100 px at 0.5 µm/px, tiles of 256 px."""

    def write(*, colours: str = "ycbcr", levels: int = 2, codec: str = "jpeg") -> Path:
        path = tmp_path / "slide.tiff"
        jpeg = {"level": 90, "outcolorspace": colours} if codec == "jpeg" else None
        with tifffile.TiffWriter(path) as tiff:
            for level in range(levels):
                tiff.write(
                    np.asarray(Image.fromarray(optical).reduce(4**level)),
                    tile=(256, 256),
                    photometric="ycbcr" if jpeg and colours == "ycbcr" else "rgb",
                    compression=codec,
                    compressionargs=jpeg,
                    metadata=None,
                    subfiletype=int(level > 0),
                    resolution=(2e4 / 4**level, 2e4 / 4**level),
                    resolutionunit="CENTIMETER",
                )
        return path

    return write
