"""Which tissue lies where inside a tile: a linear head on an inner stage of the encoder.

The embedded encoder is trained with such a head, which names the tissue of every 16 µm; it ships beside the
weights. Published tile encoders ship none: `head_of` is None for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.clip import BATCH, OpenClipEncoder
from pathagent_tools.encoders.domain import staged

TISSUE_FILE: Final = "tissue.safetensors"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TissueHead:
    """`weight` [K, C] and `bias` [K] on the output of block `stage`; K names, of which repeats are summed."""

    weight: Floats
    bias: Floats
    stage: int
    tissues: tuple[str, ...]


def head_of(encoder: SlideEncoder) -> TissueHead | None:
    """The head that ships beside the encoder's weights; None where there is none."""
    folder = getattr(encoder, "folder", None)
    if not isinstance(encoder, OpenClipEncoder) or folder is None or not (folder / TISSUE_FILE).is_file():
        return None
    return _load(folder, encoder.revision)


def tissue_shares(encoder: SlideEncoder, tiles: NDArray[np.uint8]) -> tuple[tuple[str, ...], Floats]:
    """(K tissue names, [N, n, n, K]): the probability of each tissue in each of n × n cells of a tile.

    tiles: uint8 [N, tile_px, tile_px, 3] at the encoder's mpp. UserError where the encoder has no head.
    """
    import torch

    head = head_of(encoder)
    if head is None:
        raise UserError(
            f"Encoder {encoder.id!r} has no {TISSUE_FILE}: use the embedded encoder for tissue maps."
        )
    network = staged(encoder)
    network.check_tiles(tiles)
    trunk = network.model.visual.trunk
    weight, bias = torch.from_numpy(head.weight)[:, :, None, None], torch.from_numpy(head.bias)
    found = []
    with torch.inference_mode():
        for start in range(0, len(tiles), BATCH):
            x = trunk.bn1(trunk.conv_stem(network.pixels(tiles[start : start + BATCH])))
            for block in trunk.blocks[: head.stage + 1]:
                x = block(x)
            cells = torch.nn.functional.conv2d(x.float().cpu(), weight, bias).softmax(1)
            found.append(cells.permute(0, 2, 3, 1).numpy())
    names = tuple(dict.fromkeys(head.tissues))
    shares = np.concatenate(found) if found else np.empty((0, 1, 1, len(head.tissues)), np.float32)
    merged = [shares[..., [i for i, t in enumerate(head.tissues) if t == name]].sum(-1) for name in names]
    return names, np.stack(merged, -1)


def save_head(head: TissueHead, folder: Path) -> None:
    """Write `tissue.safetensors`, names and stage in its metadata."""
    from safetensors.numpy import save_file

    part = folder / f"{TISSUE_FILE}.tmp"
    arrays = {"weight": head.weight.astype(np.float32), "bias": head.bias.astype(np.float32)}
    save_file(arrays, str(part), metadata={"stage": str(head.stage), "tissues": json.dumps(head.tissues)})
    part.chmod(0o644)
    part.replace(folder / TISSUE_FILE)


@lru_cache(maxsize=4)
def _load(folder: Path, revision: str) -> TissueHead:
    """Read the head of `folder`; `revision` is part of the cache key."""
    from safetensors import safe_open

    with safe_open(str(folder / TISSUE_FILE), framework="numpy") as file:
        said = file.metadata()
        weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
    return TissueHead(weight, bias, int(said["stage"]), tuple(json.loads(said["tissues"])))
