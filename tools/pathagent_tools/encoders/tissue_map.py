"""Which tissue lies where inside a tile: a linear head on an inner stage of the encoder.

The embedded encoder is trained with such a head, which names the tissue of every 16 µm; it ships beside the
weights. Published tile encoders ship none: `head_of` is None for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Image, SlideEncoder
from pathagent_tools.core.records import Measurement
from pathagent_tools.core.vocabulary import Tissue, tissue_of, tissues_of
from pathagent_tools.encoders.clip import BATCH, OpenClipEncoder
from pathagent_tools.encoders.domain import staged
from pathagent_tools.encoders.reading import zero_shot

TISSUE_FILE: Final = "tissue.safetensors"
SHARE_OF: Final = "share_of_"
"""Names of the shares begin so: `share_of_invasive_tumour`."""
TUMOUR_GRADE: Final = "tumour_grade"
LEAST_SHARE: Final = 0.05
DISEASED: Final[tuple[Tissue, ...]] = ("invasive tumour", "dysplastic epithelium", "mucin")
"""What a cell of the map must be to be worth a look; mucin outside cells often has tumour in it."""
CELLS: Final = 2
"""The most diseased cells of a field that count: what is smaller is noise."""
_GRADES: Final = {
    grade: (f"invasive tumour with {grade} grade nuclei", f"tumour, {grade} nuclear grade")
    for grade in ("low", "intermediate", "high")
}
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


def read_field(encoder: SlideEncoder, rgb: Image, *, margin: int = 0) -> tuple[Measurement, ...]:
    """A second reading of one field, without the VLM: the share of each tissue, and of a tumour its grade.

    rgb: [h, w, 3] at the encoder's mpp. margin: px on each side that are no part of the field; one that is
    smaller than a tile of the encoder is read in its surroundings. Shares below 5 % are left out. The grade
    (1 to 3) is told from words alone. Empty where the encoder has no tissue head, or `rgb` is smaller than
    one of its tiles.
    """
    if head_of(encoder) is None or min(rgb.shape[:2]) < encoder.tile_px:
        return ()
    names, cells, tiles = _mapped(encoder, rgb, margin)
    shares = cells[np.isfinite(cells[..., 0])].mean(0)
    found = {name: float(share) for name, share in zip(names, shares, strict=True) if share >= LEAST_SHARE}
    note = f"read by {encoder.id} {encoder.revision[:8]}"
    read = [
        Measurement(
            name=f"{SHARE_OF}{name.replace(' ', '_')}",
            label=f"{name.capitalize()} (map)",
            value=round(100 * share),
            unit="%",
            note=note,
        )
        for name, share in sorted(found.items(), key=lambda item: -item[1])
    ]
    if tissue_of(found) == "invasive tumour":
        whole = encoder.encode_tiles(tiles).mean(0, keepdims=True)
        grade = int(zero_shot(whole, encoder, _GRADES, templates=("{}",))[0].argmax())
        label = "Nuclear grade, 1 to 3 (encoder)"
        read.append(Measurement(name=TUMOUR_GRADE, label=label, value=grade + 1, unit="1", note=note))
    return tuple(read)


def field_cells(encoder: SlideEncoder, rgb: Image, *, margin: int = 0) -> tuple[tuple[str, ...], Floats]:
    """(K tissue names, [rows, columns, K]): the tissue map of a field, NaN where no tile lies.

    rgb [h, w, 3], at least a tile in size, and margin: as in `read_field`. UserError where the encoder has no
    tissue head.
    """
    names, cells, _ = _mapped(encoder, rgb, margin)
    return names, cells


def diseased(names: Sequence[str], cells: Floats) -> Floats:
    """[…, K] → […]: how surely each cell of a tissue map is tumour, dysplasia or mucin."""
    return np.asarray(cells[..., [i for i, name in enumerate(names) if name in DISEASED]].sum(-1), np.float32)


def worst(sick: Floats) -> float:
    """The mean of the `CELLS` most diseased cells, as `diseased` says it; 0 without any."""
    found = np.sort(sick[np.isfinite(sick)], axis=None)[-CELLS:]
    return float(found.mean()) if found.size else 0.0


def mapped_tissues(measurements: Sequence[Measurement]) -> tuple[Tissue, ...]:
    """What `read_field` says that a field shows, mainly first; empty where it was not read so."""
    shares = {
        m.name.removeprefix(SHARE_OF).replace("_", " "): m.value / 100
        for m in measurements
        if m.name.startswith(SHARE_OF)
    }
    return tissues_of(shares) if shares else ()


def tumour_grade(measurements: Sequence[Measurement]) -> str:
    """The nuclear grade that `read_field` gives a tumour; empty where it read none."""
    found = next((round(m.value) for m in measurements if m.name == TUMOUR_GRADE), 0)
    return tuple(_GRADES)[found - 1] if found else ""


def _starts(side: int, encoder: SlideEncoder) -> list[int]:
    """Where tiles begin along a side of a field, evenly, so that they cover it."""
    tile = encoder.tile_px
    return [int(start) for start in np.linspace(0, side - tile, -(-side // tile))]


def _mapped(
    encoder: SlideEncoder, rgb: Image, margin: int
) -> tuple[tuple[str, ...], Floats, NDArray[np.uint8]]:
    """(names, cells of the field [rows, columns, K], the tiles that they were read in).

    Where tiles overlap their cells are averaged; no cell of the margin is there.
    """
    tile_px = encoder.tile_px
    corners = [(y, x) for y in _starts(rgb.shape[0], encoder) for x in _starts(rgb.shape[1], encoder)]
    tiles = np.stack([rgb[y : y + tile_px, x : x + tile_px] for y, x in corners])
    names, cells = tissue_shares(encoder, tiles)
    n = cells.shape[1]
    places = [(y * n // tile_px, x * n // tile_px) for y, x in corners]
    down, across = np.array(places).max(0) + n
    total, times = np.zeros((down, across, cells.shape[-1])), np.zeros((down, across, 1))
    for (y, x), tile in zip(places, cells, strict=True):
        total[y : y + n, x : x + n] += tile
        times[y : y + n, x : x + n] += 1
    edge = round(margin * n / tile_px)
    inside = slice(edge, down - edge), slice(edge, across - edge)
    mean = np.where(times[inside] > 0, total[inside] / np.maximum(times[inside], 1), np.nan)
    return names, np.asarray(mean, np.float32), tiles


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
