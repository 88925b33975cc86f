"""Tile features of one slide into an HDF5 file of TRIDENT's layout: read, encoded and stored as a stream."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.features import refuse_foreign
from pathagent_tools.encoders.partial import PartialFeatures
from pathagent_tools.encoders.store import StoreKey, read_features
from pathagent_tools.slides.slide import Slide
from pathagent_tools.slides.tile_reader import ReadingStats, Resampling, TileReader

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles of the slide)."""


@dataclass(frozen=True)
class Encoded:
    """`reused`: the file was there and is untouched. `reason`: why it was computed, or computed anew.

    `resumed`: chunks that an earlier run had completed. `reading`: None where nothing was read.
    """

    path: Path
    tiles: int
    reused: bool
    reason: str = ""
    resumed: int = 0
    reading: ReadingStats | None = None


def encode_slide(
    slide: Slide,
    coords: NDArray[np.int64],
    encoder: SlideEncoder,
    key: StoreKey,
    path: Path,
    *,
    workers: int = 1,
    resampling: Resampling = "reduced",
    progress: Progress | None = None,
) -> Encoded:
    """Encode the tiles at level-0 corners `coords` [N, 2] into `path`. Memory does not grow with N.

    A file there is used as it is where its key and coordinates are these, and computed anew where it was
    written by this software for another key (`reason` says which). What an earlier run left half done is
    gone on with. UserError, and nothing overwritten, where `path` is some other file; SlideError.
    """
    found, reason = read_features(path, key, coords)
    if found is not None:
        return Encoded(path, len(coords), reused=True)
    refuse_foreign(path)
    if path.exists():
        log.warning("%s: stored features are computed anew: %s", slide.name, reason)
    with TileReader(slide, coords, key.spec, workers=workers, resampling=resampling) as reader:
        part = PartialFeatures(path, key, coords, reader.order, encoder.dim)
        resumed = len(part.done)
        try:
            for batch in reader.batches(part.done):
                part.put(batch.indices, encoder.encode_tiles(batch.tiles))
                if batch.last:
                    part.complete(batch.chunk)
                if progress is not None:
                    progress(reader.stats.tiles, len(coords))
            part.finish()
        finally:
            part.close()
    return Encoded(path, len(coords), reused=False, reason=reason, resumed=resumed, reading=reader.stats)
