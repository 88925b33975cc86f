"""Is this tissue what the embedded models were trained on? A distance in the encoder's own layers.

Real tissue must never be diagnosed by models that know phantoms. Each tile is described by statistics of
the encoder's first three stages (texture and colour at three scales): mean, deviation and gradients of each
channel, and the products of the first stage's channels. Its score is the Mahalanobis distance (per degree
of freedom, after Lee et al. 2018, arXiv:1807.03888, and the Gram statistics of arXiv:1912.12510) to the
training tiles, so 1 is typical. A slide is judged by the share of its tiles beyond the tile limit, which no
single artifact decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.clip import BATCH, OpenClipEncoder
from pathagent_tools.encoders.scan import TileFeatures, read_tiles
from pathagent_tools.slides.slide import Slide
from pathagent_tools.slides.tissue import Tissue

DOMAIN_FILE: Final = "domain.safetensors"
SLIDE_TILES: Final = 96
"""A slide is judged on at most this many of its tiles, evenly spread over its grid."""

MAX_PEN: Final = 0.03

STAGES: Final = 2
LOG_GAIN: Final = 20.0
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DomainReference:
    """What the training tiles look like inside the encoder.

    `mean`, `deviation` [S]: of the channel statistics. `whitening` [S, K]: to unit variance.
    `tile_limit`: score above which a tile is foreign. `slide_limit`: share of foreign tiles above which a
    slide is.
    """

    mean: Floats
    deviation: Floats
    whitening: Floats
    tile_limit: float
    slide_limit: float

    def score(self, statistics: Floats) -> Floats:
        """[N, S] channel statistics → [N] scores; 1 is typical of the training tiles."""
        z = np.clip((statistics - self.mean) / self.deviation, -1e3, 1e3)
        return np.asarray(((z @ self.whitening) ** 2).mean(1), np.float32)


@dataclass(frozen=True, slots=True)
class DomainVerdict:
    """`score`: share (0..1) of the tiles that are foreign. `in_domain`: it is at most `limit`."""

    score: float
    in_domain: bool
    limit: float
    tiles: int
    median: float


def domain_score(encoder: SlideEncoder, tiles: NDArray[np.uint8]) -> Floats:
    """[N, px, px, 3] uint8 tiles → [N] scores: 1 is typical of what the encoder was trained on.

    UserError where the encoder ships no domain reference (hub models: their domain is open).
    """
    reference = reference_of(encoder)
    return reference.score(channel_statistics(encoder, tiles))


def slide_in_domain(
    slide: Slide, tissue: Tissue, scanned: TileFeatures, encoder: SlideEncoder
) -> DomainVerdict:
    """Judge a slide by up to 96 of its scanned tiles, those under pen ink left out where there are others.

    A slide without tiles is not in the domain.
    """
    reference = reference_of(encoder)
    if len(scanned) == 0:
        return DomainVerdict(1.0, False, reference.slide_limit, 0, float("inf"))
    clean = _clean(tissue, scanned)
    chosen = clean[np.unique(np.linspace(0, len(clean) - 1, SLIDE_TILES).round().astype(int))]
    regions = [scanned.region(int(i), slide.id) for i in chosen]
    scores = domain_score(encoder, read_tiles(slide, regions, encoder.tile_px))
    return verdict(scores, reference)


def _clean(tissue: Tissue, scanned: TileFeatures) -> NDArray[np.intp]:
    """Tiles whose tissue can be judged: ink is foreign whatever lies under it."""
    side = np.full((len(scanned), 2), scanned.size_level0)
    free = np.flatnonzero(tissue.pen_fractions(np.hstack([scanned.coords, side])) <= MAX_PEN)
    return free if len(free) else np.arange(len(scanned))


def verdict(scores: Floats, reference: DomainReference) -> DomainVerdict:
    """The verdict on a slide from the scores of its tiles."""
    share = float((scores > reference.tile_limit).mean())
    return DomainVerdict(
        score=share,
        in_domain=share <= reference.slide_limit,
        limit=reference.slide_limit,
        tiles=len(scores),
        median=float(np.median(scores)),
    )


def channel_statistics(encoder: SlideEncoder, tiles: NDArray[np.uint8]) -> Floats:
    """[N, S] of the stem and the first two stages, on a logarithmic scale.

    For each channel: mean, deviation, mean step to the next and to the next but one position; for each pair
    of the stem's channels: mean product.
    """
    import torch

    network = staged(encoder)
    network.check_tiles(tiles)
    trunk = network.model.visual.trunk
    rows = []
    with torch.inference_mode():
        for start in range(0, len(tiles), BATCH):
            x = trunk.bn1(trunk.conv_stem(network.pixels(tiles[start : start + BATCH])))
            parts = [_products(x)]
            for stage in (None, *trunk.blocks[:STAGES]):
                x = x if stage is None else stage(x)
                parts += [x.mean((2, 3)), x.std((2, 3)), _steps(x, 1), _steps(x, 2)]
            values = torch.cat(parts, 1)
            rows.append((values.sign() * torch.log1p(LOG_GAIN * values.abs())).float().cpu().numpy())
    return np.concatenate(rows) if rows else np.empty((0, len(reference_of(encoder).mean)), np.float32)


def _steps(x: Any, apart: int) -> Any:
    """[N, C]: mean absolute difference of positions `apart` from each other, across plus down."""
    across = (x[..., apart:] - x[..., :-apart]).abs().mean((2, 3))
    return across + (x[..., apart:, :] - x[..., :-apart, :]).abs().mean((2, 3))


def _products(x: Any) -> Any:
    """[N, C (C + 1) / 2]: mean product of each pair of channels."""
    import torch

    flat = x.flatten(2)
    gram = torch.bmm(flat, flat.transpose(1, 2)) / flat.shape[2]
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    return gram[:, i, j]


def fit_reference(
    statistics: Floats, *, shrinkage: float, tile_limit: float, slide_limit: float
) -> DomainReference:
    """Mean, deviation and whitening of training tiles' channel statistics [N, S].

    shrinkage: added to each eigenvalue of the correlation matrix, so that directions that hardly vary in
    training do not dominate.
    """
    mean, deviation = statistics.mean(0), statistics.std(0) + 1e-4
    z = (statistics - mean) / deviation
    values, vectors = np.linalg.eigh(np.cov(z.T.astype(np.float64)))
    whitening = (vectors / np.sqrt(np.maximum(values, 0.0) + shrinkage)).astype(np.float16)  # as it ships
    return DomainReference(mean, deviation, whitening.astype(np.float32), tile_limit, slide_limit)


def save_reference(reference: DomainReference, folder: Path) -> None:
    """Write `domain.safetensors` (fp16 whitening) with the limits in its metadata."""
    from safetensors.numpy import save_file

    part = folder / f"{DOMAIN_FILE}.tmp"
    arrays: dict[str, NDArray[Any]] = {
        "mean": reference.mean.astype(np.float32),
        "deviation": reference.deviation.astype(np.float32),
        "whitening": np.ascontiguousarray(reference.whitening.astype(np.float16)),
    }
    limits = {"tile_limit": repr(reference.tile_limit), "slide_limit": repr(reference.slide_limit)}
    save_file(arrays, str(part), metadata=limits)
    part.chmod(0o644)
    part.replace(folder / DOMAIN_FILE)


def reference_of(encoder: SlideEncoder) -> DomainReference:
    """The reference that ships beside the encoder's weights. UserError where there is none."""
    network = staged(encoder)
    if network.folder is None or not (network.folder / DOMAIN_FILE).is_file():
        raise UserError(
            f"Encoder {encoder.id!r} has no {DOMAIN_FILE}: its domain is not known. Use a profile whose "
            "domain is 'open', or train with: pathagent finetune encoder --out runs/encoder"
        )
    return _load_reference(network.folder, network.revision)


@lru_cache(maxsize=4)
def _load_reference(folder: Path, revision: str) -> DomainReference:
    """Read `folder/domain.safetensors`; `revision` is part of the cache key."""
    from safetensors import safe_open

    with safe_open(str(folder / DOMAIN_FILE), framework="numpy") as file:
        limits = file.metadata()
        arrays = {key: file.get_tensor(key).astype(np.float32) for key in ("mean", "deviation", "whitening")}
    return DomainReference(
        **arrays, tile_limit=float(limits["tile_limit"]), slide_limit=float(limits["slide_limit"])
    )


def staged(encoder: SlideEncoder) -> OpenClipEncoder:
    """The encoder, where its image tower is a convolutional network with stages. UserError otherwise."""
    tower = getattr(getattr(encoder, "model", None), "visual", None)
    if isinstance(encoder, OpenClipEncoder) and hasattr(getattr(tower, "trunk", None), "conv_stem"):
        return encoder
    raise UserError(
        f"Encoder {encoder.id!r} has no convolutional stages to judge a domain by. "
        "Use the embedded encoder for that, or a profile whose domain is 'open'."
    )
