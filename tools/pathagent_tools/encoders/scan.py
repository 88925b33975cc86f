"""The question-free scan: every tissue tile of a slide through the encoder, once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Region, TileSpec
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.spec import check_grid
from pathagent_tools.encoders.store import StoreKey, read_features, write_features
from pathagent_tools.slides.grid import tile_grid
from pathagent_tools.slides.slide import Slide
from pathagent_tools.slides.tile_reader import TileReader
from pathagent_tools.slides.tissue import Tissue

FEW: Final = 256
"""So many tiles are read sooner than a process is started that reads ahead."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TileFeatures:
    """Tiles of one slide and what the encoder made of them.

    `coords` int64 [N, 2]: level-0 top-left (x, y). `features` float32 [N, D], un-normalised.
    `size_level0`: side of a tile in level-0 px. `reused`: read from a store, nothing was encoded.
    """

    coords: NDArray[np.int64]
    features: NDArray[np.float32]
    spec: TileSpec
    size_level0: int
    encoder: str
    encoder_revision: str
    reused: bool = False

    def __len__(self) -> int:
        return len(self.coords)

    def region(self, index: int, slide_id: str) -> Region:
        """The region of one tile, at the encoder's mpp."""
        x, y = (int(v) for v in self.coords[index])
        side = self.size_level0
        return Region(slide=slide_id, x=x, y=y, width=side, height=side, mpp=self.spec.mpp)


def scan_slide(
    slide: Slide,
    tissue: Tissue,
    encoder: SlideEncoder,
    *,
    store: Path | None = None,
    spec: TileSpec | None = None,
    min_tissue: float = 0.25,
) -> TileFeatures:
    """Encode all tiles of `slide` with at least `min_tissue` (0..1) tissue.

    A process of its own reads ahead of the encoder (exactly the pixels of `Slide.read`), so memory does not
    grow with the slide, features aside.
    store: folder of HDF5 files in TRIDENT's layout; features there are used again only when slide digest,
    resolution, grid and encoder revision match, else they are computed anew and the reason is logged.
    spec: another grid of the encoder's own tile size (an overlap). UserError where it is another size;
    SlideError where the slide was scanned too coarsely or cannot be read.
    """
    grid = spec or TileSpec(tile_px=encoder.tile_px, mpp=encoder.tile_mpp)
    check_grid(grid, encoder=encoder.id, tile_px=encoder.tile_px, mpp=encoder.tile_mpp)
    regions = tile_grid(slide, tissue, grid, min_tissue)
    coords = np.array([(r.x, r.y) for r in regions], np.int64).reshape(-1, 2)
    key, path = _key(slide, grid, encoder), None
    features: NDArray[np.float32] | None = None
    if store is not None:
        path = key.path(store)
        features, reason = read_features(path, key, coords)
        if features is None and path.is_file():
            log.warning("%s: stored features are computed anew: %s", slide.name, reason)
    reused = features is not None
    if features is None:
        features = encode_at(slide, coords, grid, encoder)
        if path is not None:
            write_features(path, key, coords, features)
    return TileFeatures(
        coords, features, grid, round(grid.size_level0(slide.mpp)), encoder.id, encoder.revision, reused
    )


def read_tiles(slide: Slide, regions: Sequence[Region], tile_px: int) -> NDArray[np.uint8]:
    """Pixels of tiles: uint8 [N, tile_px, tile_px, 3]."""
    tiles = np.empty((len(regions), tile_px, tile_px, 3), np.uint8)
    for i, image in enumerate(slide.read_many(regions)):
        tiles[i] = image if image.shape[:2] == (tile_px, tile_px) else _fit(image, tile_px)
    return tiles


def tiles_at(slide: Slide, coords: NDArray[np.int64], spec: TileSpec) -> NDArray[np.uint8]:
    """Pixels [N, tile_px, tile_px, 3] of the tiles at level-0 corners [N, 2]. SlideError where unreadable."""
    side = round(spec.size_level0(slide.mpp))
    regions = [
        Region(slide=slide.id, x=int(x), y=int(y), width=side, height=side, mpp=spec.mpp) for x, y in coords
    ]
    return read_tiles(slide, regions, spec.tile_px)


def encode_at(
    slide: Slide, coords: NDArray[np.int64], spec: TileSpec, encoder: SlideEncoder
) -> NDArray[np.float32]:
    """Features [N, D] of the tiles at level-0 corners [N, 2]. SlideError where they cannot be read."""
    if len(coords) <= FEW:
        return encoder.encode_tiles(tiles_at(slide, coords, spec))
    features = np.empty((len(coords), encoder.dim), np.float32)
    with TileReader(slide, coords, spec) as reader:
        for batch in reader:
            features[batch.indices] = encoder.encode_tiles(batch.tiles)
    return features


def _fit(image: NDArray[np.uint8], tile_px: int) -> NDArray[np.uint8]:
    """Rounding of level-0 sizes can leave a pixel more or less: resize to the encoder's own size."""
    from PIL import Image

    resized = Image.fromarray(image).resize((tile_px, tile_px), Image.Resampling.BICUBIC, reducing_gap=None)
    return np.asarray(resized, np.uint8)


def _key(slide: Slide, grid: TileSpec, encoder: SlideEncoder) -> StoreKey:
    return StoreKey(
        slide=Path(slide.name).stem,
        slide_digest=slide.digest,
        slide_mpp=slide.mpp,
        width=slide.width,
        height=slide.height,
        spec=grid,
        encoder=encoder.id,
        encoder_revision=encoder.revision,
    )
