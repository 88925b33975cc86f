"""The report that goes with every generated set: is it what was asked, is it copied, is it varied, and does
training on it help?

Copies are looked for among thumbnails of all training fields, in all eight orientations. The thumbnails
ship with the weights; they are of phantoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image, SlideEncoder
from pathagent_tools.core.synthetic import ReadBack
from pathagent_tools.generators.protocol import ImageGenerator
from pathagent_tools.generators.read_back import nuclear_numbers
from pathagent_tools.generators.studio import Drawn
from pathagent_tools.generators.usefulness import (
    FieldBank,
    Usefulness,
    class_of,
    embedded,
    name_of,
    usefulness,
)

THUMBNAILS: Final = "training_thumbnails.npz"
SIDE: Final = 12
COPY: Final = 0.97
"""Correlation of thumbnails from which on an image is called a possible copy."""


class ImageVetting(Frozen):
    """One image: what was read back, its nuclei, its nearest training field (correlation, index)."""

    caption: str
    read_back: tuple[ReadBack, ...]
    nuclei: dict[str, float]
    nearest: float | None
    nearest_field: int | None
    possible_copy: bool


class Vetting(Frozen):
    """A set. `read_back_share`: of the claims that could be checked; `diversity`: 1 - mean correlation of
    thumbnails between images of the set, None for a single one; `useful`: what the set adds to a
    classifier's training, None where that was not tried; `notes`: what could not be assessed."""

    images: tuple[ImageVetting, ...]
    read_back_share: float | None
    claims_checked: int
    diversity: float | None
    possible_copies: int
    useful: Usefulness | None = None
    notes: tuple[str, ...] = ()


def vet(drawn: Drawn, generator: ImageGenerator | None, encoder: SlideEncoder | None = None) -> Vetting:
    """Vet the synthetic images of a set; what was given (an example, a layout) is left out.

    generator: None where a classical method made them, which has no training fields to copy. encoder: reads
    the images for the classifier; None where no words name a class, and training on them is not tried.
    """
    synthetic = drawn.synthetic or (True,) * len(drawn.images)
    found = drawn.read_back or ((),) * len(drawn.images)
    layouts = drawn.layouts or (None,) * len(drawn.images)
    chosen = [i for i, is_synthetic in enumerate(synthetic) if is_synthetic]
    images = [drawn.images[i] for i in chosen]
    library = training_thumbnails(generator) if generator is not None else None
    notes = []
    if library is None and generator is not None:
        notes.append("no training thumbnails ship with this generator: copies were not looked for")
    useful, why = None, "its words name no single class of tissue"
    if encoder is not None and generator is not None:
        useful, why = _tried(drawn, chosen, generator, encoder)
    if useful is None and generator is not None:
        notes.append(f"training on the set was not tried: {why}")
    if drawn.mpp > 1.02:
        notes.append(f"nuclei are not measured at {drawn.mpp:g} um per px")
    rows = []
    for i, image in zip(chosen, images, strict=True):
        near, index = nearest(image, library) if library is not None else (None, None)
        measured = nuclear_numbers(image, drawn.mpp, layouts[i]) if drawn.mpp <= 1.02 else {}
        rows.append(
            ImageVetting(
                caption=drawn.captions[i],
                read_back=found[i],
                nuclei=_rounded(measured),
                nearest=near,
                nearest_field=index,
                possible_copy=near is not None and near >= COPY,
            )
        )
    claims = [claim for row in rows for claim in row.read_back]
    return Vetting(
        images=tuple(rows),
        read_back_share=round(float(np.mean([c.agrees for c in claims])), 3) if claims else None,
        claims_checked=len(claims),
        diversity=diversity(images),
        possible_copies=sum(row.possible_copy for row in rows),
        useful=useful,
        notes=tuple(notes),
    )


def _tried(
    drawn: Drawn, chosen: Sequence[int], generator: ImageGenerator, encoder: SlideEncoder
) -> tuple[Usefulness | None, str]:
    """What training on the chosen images adds, and else why that was not tried."""
    folder = getattr(generator, "folder", None)
    bank = FieldBank.load(Path(folder)) if folder is not None else None
    if bank is None:
        return None, "no rendered fields ship with this generator"
    if bank.encoder != name_of(encoder):
        return None, f"the fields of this generator were read by {bank.encoder}, not by {name_of(encoder)}"
    classes = {i: number for i in chosen if (number := class_of(drawn.words[i])) is not None}
    if not classes:
        return None, "its words name no single class of tissue"
    features = embedded(encoder, [drawn.images[i] for i in classes], drawn.mpp)
    if features is None:
        return None, "an image shows less than one tile of the encoder"
    return usefulness(bank, features, list(classes.values())), ""


def training_thumbnails(generator: ImageGenerator) -> NDArray[np.float32] | None:
    """[n, SIDE²] unit vectors of the training fields; None where none ship with the weights."""
    folder = getattr(generator, "folder", None)
    if folder is None or not (Path(folder) / THUMBNAILS).is_file():
        return None
    with np.load(Path(folder) / THUMBNAILS, allow_pickle=False) as file:
        stored = file["grey"]
    return unit(stored.reshape(len(stored), -1).astype(np.float32))


def save_thumbnails(folder: Path, images: Sequence[Image]) -> None:
    """Write what `training_thumbnails` reads."""
    np.savez_compressed(folder / THUMBNAILS, grey=thumbnails(images))


def thumbnails(images: Sequence[Image] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[n, SIDE, SIDE] grey thumbnails."""
    import cv2

    return np.stack(
        [
            cv2.resize(
                cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_RGB2GRAY),
                (SIDE, SIDE),
                interpolation=cv2.INTER_AREA,
            )
            for i in images
        ]
    )


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows without their mean, of length 1: their products are correlations."""
    centred = vectors - vectors.mean(1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6), np.float32)


def nearest(image: Image, library: NDArray[np.float32]) -> tuple[float, int]:
    """(correlation, index) of the training field most like the image in any orientation."""
    small = thumbnails([image])[0].astype(np.float32)
    turned = [np.rot90(m, k) for m in (small, small.T) for k in range(4)]
    alike = library @ unit(np.stack([t.reshape(-1) for t in turned])).T
    index = int(alike.max(1).argmax())
    return round(float(alike.max()), 4), index


def diversity(images: Sequence[Image]) -> float | None:
    """1 - mean correlation of thumbnails between different images; None for fewer than two."""
    if len(images) < 2:
        return None
    vectors = unit(thumbnails(images).reshape(len(images), -1).astype(np.float32))
    alike = vectors @ vectors.T
    return round(1 - float(alike[~np.eye(len(images), dtype=bool)].mean()), 4)


def _rounded(numbers: dict[str, Any]) -> dict[str, float]:
    return {k: round(float(v), 3) for k, v in numbers.items()}
