"""Whether training on generated images helps: a few-shot classifier with and without them (IMG-05).

The classifier of tissues sees embeddings of the encoder. It learns from a few rendered fields of each class
and is scored on fields of other worlds, by whether their scanner was seen in training. Those embeddings lie
beside the weights of the generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image, SlideEncoder
from pathagent_tools.generators.read_back import fields_for, targets

BANK_FILE: Final = "probe.npz"
FEW: Final = 4
"""Rendered fields of each class that the classifier learns from."""
GROUPS: Final = ("scanners unseen", "scanners seen")
_STRENGTH: Final = 10.0
"""Inverse of the regularisation; embeddings have length 1."""


class Usefulness(Frozen):
    """Balanced accuracy on unseen fields before and after `images` joined the training set, by group."""

    images: int
    few: int = FEW
    fields: dict[str, int]
    before: dict[str, float]
    after: dict[str, float]


@dataclass(frozen=True)
class FieldBank:
    """Embeddings of N rendered fields: `FEW` of each class to learn from, the rest to be scored on.

    features float32 [N, dim], of length 1; classes int8 [N], numbers of `reading.class_keys()`; scored bool
    [N]; seen bool [N]: whether the scanner was seen in training. encoder: id and revision.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int8]
    scored: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    encoder: str

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The bank of a weights' folder; None where it has none. UserError where it is damaged."""
        path = folder / BANK_FILE
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            found["features"] = found["features"].astype(np.float32)
            return cls(**{**found, "encoder": str(found["encoder"])})
        except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise UserError(f"{path} is damaged ({error}). Take the generator's folder anew.") from error

    def save(self, folder: Path) -> None:
        """Write `probe.npz`."""
        part = folder / f".{BANK_FILE}"
        np.savez_compressed(
            part,
            features=self.features.astype(np.float16),
            classes=self.classes,
            scored=self.scored,
            seen=self.seen,
            encoder=np.array(self.encoder),
        )
        part.replace(folder / BANK_FILE)


def name_of(encoder: SlideEncoder) -> str:
    """What a bank says of the encoder that made it."""
    return f"{encoder.id} {encoder.revision}"


def class_of(words: Mapping[str, str]) -> int | None:
    """Number of the one class that the words name; None where they name none or several."""
    from pathagent_tools.encoders.reading import class_keys

    fitting = targets(words) if words else []
    return class_keys().index(fitting[0]) if len(fitting) == 1 else None


def embedded(encoder: SlideEncoder, images: Sequence[Image], mpp: float) -> NDArray[np.float32] | None:
    """[n, dim] of length 1; None where the images show less than one tile of the encoder."""
    tiles = fields_for(encoder, images, mpp)
    if tiles is None:
        return None
    vectors = encoder.encode_tiles(tiles)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def usefulness(bank: FieldBank, features: NDArray[np.float32], classes: Sequence[int]) -> Usefulness:
    """What n images with embeddings [n, dim] and their classes add to the few of the bank."""
    few = ~bank.scored
    own, labels = bank.features[few], bank.classes[few].astype(int)
    joined = np.concatenate([own, features]), np.concatenate([labels, np.asarray(classes, int)])
    return Usefulness(
        images=len(features),
        fields={name: int(of.sum()) for name, of in _groups(bank).items()},
        before=_accuracies(bank, own, labels),
        after=_accuracies(bank, *joined),
    )


def _groups(bank: FieldBank) -> dict[str, NDArray[np.bool_]]:
    found = {name: bank.scored & (bank.seen == bool(i)) for i, name in enumerate(GROUPS)}
    return {name: of for name, of in found.items() if of.any()}


def _accuracies(
    bank: FieldBank, features: NDArray[np.float32], classes: NDArray[np.int64]
) -> dict[str, float]:
    """Balanced accuracy of a classifier that is trained on these, by group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    model = LogisticRegression(C=_STRENGTH, max_iter=1000).fit(features, classes)
    return {
        name: round(float(balanced_accuracy_score(bank.classes[of], model.predict(bank.features[of]))), 3)
        for name, of in _groups(bank).items()
    }
