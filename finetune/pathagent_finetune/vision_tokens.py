"""What the trained visual tower sees in each training tile, computed once and kept on disk.

The tower is frozen while the language model learns to read it, so its tokens need not be computed at
every step. Each tile is seen in several views (turned, mirrored, slightly recoloured).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune.tilestore import TileStore
from pathagent_finetune.vision_batch import augment, encode, to_patches

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

CHUNK = 64


def look(visual: Any, images: NDArray[np.uint8]) -> Tensor:
    """Tokens of a batch of tiles [N, 1 + deepstack, I, D]: merged ones first, then the deepstack layers'."""
    import torch

    with torch.inference_mode():
        merged, deep = encode(visual, to_patches(images))
        return torch.stack([merged, *deep], dim=1)


def tokens(
    visual: Any, store: TileStore, path: Path, *, views: int, seed: int, colour: float
) -> NDArray[np.float16]:
    """[views, tiles, 1 + deepstack, I, D] float16, memory-mapped from `path`; computed where it is missing.

    `path` is written under a temporary name and renamed when it is whole.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".tmp")
        shape = (views, len(store), *look(visual, np.stack([store.image(0)])).shape[1:])
        log.info("looking at %d tiles in %d views each", len(store), views)
        kept: NDArray[np.float16] = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            part, mode="w+", dtype=np.float16, shape=shape
        )
        for view in range(views):
            for start in range(0, len(store), CHUNK):
                chosen = range(start, min(start + CHUNK, len(store)))
                rng = np.random.default_rng([seed, 5, view, start])
                images, _ = augment(np.stack([store.image(i) for i in chosen]), rng, colour=colour)
                kept[view, chosen.start : chosen.stop] = look(visual, images).numpy()
        del kept
        part.replace(path)
    return np.asarray(np.load(path, mmap_mode="r"))
