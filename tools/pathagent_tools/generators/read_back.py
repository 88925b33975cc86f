"""What encoder and measurements find in an image, held against what it was asked to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.protocols import Image, SlideEncoder
from pathagent_tools.core.synthetic import ReadBack
from pathagent_tools.generators.conditions import EPITHELIUM, Layout
from pathagent_tools.generators.protocol import Images

SHOWS: Final[dict[str, tuple[str, str]]] = {
    "irregular invasive glands": ("invasive tumour", "irregular glands"),
    "solid tumour nests": ("invasive tumour", "solid nests"),
    "single-file tumour cells": ("invasive tumour", "single files"),
    "tumour in mucin pools": ("invasive tumour", "mucin pools"),
    "crowded dysplastic glands": ("dysplastic epithelium", "crowded glands"),
    "necrosis": ("necrosis", "none"),
    "mucin": ("mucin", "mucin pools"),
    "lymphoid infiltrate": ("lymphoid infiltrate", "diffuse infiltrate"),
    "normal glands": ("benign epithelium", "regular glands"),
    "smooth muscle": ("smooth muscle", "none"),
    "stroma": ("stroma", "none"),
    "adipose": ("adipose", "none"),
    "background": ("background", "none"),
}
"""Class of the encoder → (tissue, architecture) that it stands for."""
GRADES: Final = ("low", "intermediate", "high")


def fields_for(encoder: SlideEncoder, images: Sequence[Image] | Images, mpp: float) -> Images | None:
    """The middles of images as tiles of the encoder; None where an image shows less than one tile."""
    import cv2

    side = round(encoder.tile_px * encoder.tile_mpp / mpp)
    tiles = []
    for image in images:
        h, w = image.shape[:2]
        if min(h, w) < side:
            return None
        y, x = (h - side) // 2, (w - side) // 2
        tile = image[y : y + side, x : x + side]
        size = (encoder.tile_px, encoder.tile_px)
        tiles.append(tile if tile.shape[:2] == size else cv2.resize(tile, size, interpolation=cv2.INTER_AREA))
    return np.stack(tiles)


def class_scores(
    encoder: SlideEncoder, images: Sequence[Image] | Images, mpp: float
) -> NDArray[np.float32] | None:
    """[n, classes] of `reading.class_keys()`; None where the images show less than one tile."""
    from pathagent_tools.encoders.reading import zero_shot

    tiles = fields_for(encoder, images, mpp)
    return None if tiles is None else zero_shot(encoder.encode_tiles(tiles), encoder)


def targets(words: Mapping[str, str]) -> list[str]:
    """Classes of the encoder that fit the words; all where the words name no tissue."""
    return [
        key
        for key, (tissue, architecture) in SHOWS.items()
        if words.get("tissue", tissue) == tissue and words.get("architecture", architecture) == architecture
    ]


def read_back(
    encoder: SlideEncoder, images: Sequence[Image] | Images, words: Sequence[Mapping[str, str]], mpp: float
) -> list[tuple[ReadBack, ...]]:
    """For each image what it claims and what is found: tissue, and grade where tumour was asked for.

    Empty where an image is too small for the encoder, or where the words claim nothing that it can tell.
    """
    from pathagent_tools.encoders.reading import class_keys, zero_shot

    tiles = fields_for(encoder, images, mpp)
    if tiles is None:
        return [() for _ in images]
    keys, features = class_keys(), encoder.encode_tiles(tiles)
    classes = [keys[i] for i in zero_shot(features, encoder).argmax(1)]
    phrases = {g: [f"invasive tumour with {g} grade nuclei", f"tumour, {g} nuclear grade"] for g in GRADES}
    grades = [GRADES[i] for i in zero_shot(features, encoder, phrases, templates=["{}"]).argmax(1)]
    return [_claims(asked, found, grade) for asked, found, grade in zip(words, classes, grades, strict=True)]


def _claims(asked: Mapping[str, str], found: str, grade: str) -> tuple[ReadBack, ...]:
    claims = []
    wanted = targets(asked)
    if "tissue" in asked or "architecture" in asked:
        said = ", ".join(asked[s] for s in ("tissue", "architecture") if s in asked)
        claims.append(ReadBack(claim=said, found=found, by="encoder", agrees=found in wanted))
    if asked.get("tissue") == "invasive tumour" and asked.get("nuclear_grade") in GRADES:
        claims.append(
            ReadBack(
                claim=f"nuclear grade {asked['nuclear_grade']}", found=f"nuclear grade {grade}",
                by="encoder", agrees=grade == asked["nuclear_grade"],
            )
        )  # fmt: skip
    return tuple(claims)


def nuclear_numbers(image: Image, mpp: float, layout: Layout | None = None) -> dict[str, float]:
    """Measured dials of an image: density per mm², mean area µm², sd / mean of the area; 0 without nuclei.

    layout: what the image was drawn on. The dials for size mean epithelial nuclei, so where it shows
    epithelium theirs alone are taken, and of all nuclei without it.
    """
    from pathagent_tools.measure import detect_nuclei, estimate_stain

    nuclei = detect_nuclei(image, mpp, estimate_stain(image))
    areas = nuclei.area_um2
    if layout is not None and (epithelium := np.isin(layout.labels, EPITHELIUM)).any():
        x, y = nuclei.xy_px.round().astype(int).T
        areas = areas[epithelium[y, x]]
    mean = float(areas.mean()) if len(areas) else 0.0
    return {
        "density": len(nuclei) / (image.shape[0] * image.shape[1] * (mpp / 1000) ** 2),
        "size": mean,
        "pleomorphism": float(areas.std() / mean) if mean else 0.0,
    }
