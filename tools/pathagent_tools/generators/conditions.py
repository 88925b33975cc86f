"""What a generator can be asked for. Every part can be given or left out, in any mixture.

A request is made of words of the closed vocabulary (`Findings` slots), dials for cells, a stain code, a
layout (maps of tissue, nuclei, fibres, fat membranes) and a reference image with a mask of what is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import SLOTS

WORD_SLOTS: Final = (
    "tissue", "architecture", "nuclear_grade", "mitoses", "necrosis", "inflammation", "stain"
)  # fmt: skip
"""Slots of `Findings` that a generator listens to; it draws no artifacts."""
DIALS: Final = ("density", "size", "pleomorphism", "mitoses")
"""Nuclei per mm², mean epithelial nuclear area in µm², its sd / mean, mitoses in the field."""
DIAL_SCALE: Final[dict[str, tuple[float, float]]] = {
    "density": (3500.0, 2500.0),
    "size": (45.0, 25.0),
    "pleomorphism": (0.17, 0.08),
    "mitoses": (0.4, 1.2),
}
"""Dial → (centre, spread): what the network sees is (value - centre) / spread."""
LABELS: Final = (
    "background", "adipose", "stroma", "smooth muscle", "benign epithelium", "dysplastic epithelium",
    "invasive tumour", "lymphoid infiltrate", "necrosis", "mucin", "benign lumen", "dysplastic lumen",
    "tumour lumen", "vessel",
)  # fmt: skip
"""Class number of a layout → name."""
EPITHELIUM: Final = tuple(
    LABELS.index(name) for name in ("benign epithelium", "dysplastic epithelium", "invasive tumour")
)
STAIN_NUMBERS: Final = 9

ReferenceKind = Literal["none", "holes", "low resolution", "stain", "artifact", "lesion"]
REFERENCE_KINDS: Final[tuple[ReferenceKind, ...]] = (
    "none", "holes", "low resolution", "stain", "artifact", "lesion"
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where what is: `labels` [h, w] uint8 by `LABELS`, and what is known of finer things.

    nuclei, membranes: [h, w] bool. fibres: [h/4, w/4] float32, direction of collagen and muscle in
    radians. What is None is left to the generator. `source`: where it comes from, for the record.
    """

    labels: NDArray[np.uint8]
    nuclei: NDArray[np.bool_] | None = None
    membranes: NDArray[np.bool_] | None = None
    fibres: NDArray[np.float32] | None = None
    source: str = "given"

    def __post_init__(self) -> None:
        """UserError where a map has another size or a class is unknown."""
        if self.labels.ndim != 2:
            raise UserError(f"A layout is one map [h, w] of class numbers, not of shape {self.labels.shape}.")
        highest = int(self.labels.max(initial=0))
        if highest >= len(LABELS):
            known = ", ".join(f"{i} {name}" for i, name in enumerate(LABELS))
            raise UserError(f"The layout holds class {highest}; known classes: {known}.")
        for name in ("nuclei", "membranes"):
            other = getattr(self, name)
            if other is not None and other.shape != self.labels.shape:
                raise UserError(
                    f"The map of {name} is {other.shape[1]} x {other.shape[0]} px, "
                    f"the layout {self.labels.shape[1]} x {self.labels.shape[0]}: give both the same size."
                )

    def crop(self, y: int, x: int, size: int) -> Layout:
        """The square window at (x, y) px; x and y must be multiples of 4."""
        cut = (slice(y, y + size), slice(x, x + size))
        fine = (slice(y // 4, (y + size) // 4), slice(x // 4, (x + size) // 4))
        return Layout(
            self.labels[cut],
            None if self.nuclei is None else self.nuclei[cut],
            None if self.membranes is None else self.membranes[cut],
            None if self.fibres is None else self.fibres[fine],
            self.source,
        )


@dataclass(frozen=True)
class Reference:
    """A picture to start from: `image` [h, w, 3] uint8 RGB and `known` [h, w] bool.

    Known pixels are to be kept (in content, not in stain, where `kind` is "stain"); the others are to be
    drawn anew: what the picture shows there may still help (an artifact, another lesion), except in holes.
    """

    image: NDArray[np.uint8]
    known: NDArray[np.bool_]
    kind: ReferenceKind

    def __post_init__(self) -> None:
        """UserError where the mask has another size than the picture."""
        if self.known.shape != self.image.shape[:2]:
            raise UserError(
                f"The mask is {self.known.shape[1]} x {self.known.shape[0]} px, the picture "
                f"{self.image.shape[1]} x {self.image.shape[0]}: give both the same size."
            )


@dataclass(frozen=True)
class Conditions:
    """One request. `words`: slot → value; `dials`: dial → number; `stain`: code of `stain_code`."""

    words: Mapping[str, str] = field(default_factory=dict)
    dials: Mapping[str, float] = field(default_factory=dict)
    stain: tuple[float, ...] | None = None
    layout: Layout | None = None
    reference: Reference | None = None
    mpp: float = 1.0

    def __post_init__(self) -> None:
        """UserError names an unknown slot, word or dial and what is allowed."""
        for slot, word in self.words.items():
            if slot not in WORD_SLOTS:
                raise UserError(f"No slot {slot!r}. Slots: {', '.join(WORD_SLOTS)}.")
            if word not in SLOTS[slot]:
                raise UserError(f"{slot} cannot be {word!r}. Use one of: {', '.join(SLOTS[slot])}.")
        unknown = [d for d in self.dials if d not in DIALS]
        if unknown:
            raise UserError(f"No dial {unknown[0]!r}. Dials: {', '.join(DIALS)}.")
        if self.stain is not None and len(self.stain) != STAIN_NUMBERS:
            raise UserError(f"A stain code has {STAIN_NUMBERS} numbers, not {len(self.stain)}.")
        if not 0.5 <= self.mpp <= 2.0:
            raise UserError(f"The generator draws at 0.5 to 2 µm per px, not {self.mpp:g}: give another mpp.")

    def but(self, **changes: Any) -> Self:
        """A copy with other parts."""
        return replace(self, **changes)

    @property
    def given(self) -> dict[str, Any]:
        """What was asked for, for a record: no pixels, only their presence."""
        said: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if value is None or value == {}:
                continue
            said[part.name] = (
                dict(value) if isinstance(value, Mapping)
                else value.kind if isinstance(value, Reference)
                else value.source if isinstance(value, Layout)
                else list(value) if isinstance(value, tuple)
                else value
            )  # fmt: skip
        return said


def stain_code(images: NDArray[np.uint8]) -> tuple[float, ...] | None:
    """Nine numbers of tissue [..., 3]: mean, deviation and 95th percentile of optical density (R, G, B).

    None where hardly any pixel is tissue.
    """
    density = -np.log(np.clip(images.reshape(-1, 3).astype(np.float32), 1, 255) / 255.0)
    tissue = density[density.mean(-1) > 0.12]
    if len(tissue) < 200:
        return None
    numbers = np.concatenate([tissue.mean(0), tissue.std(0), np.percentile(tissue, 95, axis=0)])
    return tuple(round(float(v), 4) for v in numbers)
