"""Layouts that a request in words or dials is drawn on, where it brings none of its own.

The embedded network paints a layout well and hardly composes one from words. So a folder of weights may hold
layouts of rendered fields with what is true of them; one that shows what is asked is taken, mirrored by the
seed, and the network paints it. What such an image composes is therefore a rendered field's (the shipped
library's are of fields never trained on), while what it looks like is the network's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.generators.conditions import DIAL_SCALE, DIALS, LABELS, WORD_SLOTS, Conditions, Layout

LIBRARY_FILE: Final = "layouts.npz"
COMPOSING: Final = ("tissue", "architecture")
"""Slots that a layout must show; the others are wished for."""
HEARD: Final = tuple(slot for slot in WORD_SLOTS if slot != "stain")
"""Slots that a layout can show."""
SOURCE: Final = "of a rendered field"
NEAR: Final = 0.25
"""Layouts this much worse than the best fit are as good: one of them is drawn by the seed."""
MOST: Final = 12


@dataclass(frozen=True)
class LayoutLibrary:
    """N layouts of one side. labels [N, h, w] uint8; nuclei, membranes [N, h, w] bool; fibres [N, h/4, w/4].

    `fibres` uint8: 0..pi as 0..255. `slots` int8 [N, 6]: index of each word of `HEARD`. `dials` float32
    [N, 4]: in the order of `DIALS`. `mpp` float32 [N].
    """

    labels: NDArray[np.uint8]
    nuclei: NDArray[np.bool_]
    membranes: NDArray[np.bool_]
    fibres: NDArray[np.uint8]
    slots: NDArray[np.int8]
    dials: NDArray[np.float32]
    mpp: NDArray[np.float32]

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The library of a weights' folder; None where it has none. UserError where it is damaged."""
        path = folder / LIBRARY_FILE
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            side = found["labels"].shape[-1]
            for name in ("nuclei", "membranes"):
                found[name] = np.unpackbits(found[name], axis=-1, count=side).astype(bool)
            return cls(**found)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}). Take the generator's folder anew.") from error

    def save(self, folder: Path) -> None:
        """Write `layouts.npz`, masks as bits."""
        bits = {name: np.packbits(getattr(self, name), axis=-1) for name in ("nuclei", "membranes")}
        plain = {n: getattr(self, n) for n in ("labels", "fibres", "slots", "dials", "mpp")}
        part = folder / f".{LIBRARY_FILE}"
        np.savez_compressed(part, **plain, **bits)  # type: ignore[arg-type]
        part.replace(folder / LIBRARY_FILE)

    def choose(self, asked: Conditions, seed: int) -> Layout | None:
        """A layout that shows the words and comes near the dials; None where none shows tissue and growth."""
        misfit = np.zeros(len(self.labels))
        for position, slot in enumerate(HEARD):
            if (word := asked.words.get(slot)) is not None:
                wrong = self.slots[:, position] != SLOTS[slot].index(word)
                misfit += np.where(wrong, np.inf if slot in COMPOSING else 1.0, 0.0)
        if (tissue := asked.words.get("tissue")) in LABELS:
            misfit += 1 - (self.labels == LABELS.index(tissue)).mean((1, 2))  # the more of it, the better
        for position, dial in enumerate(DIALS):
            if (value := asked.dials.get(dial)) is not None:
                _, spread = DIAL_SCALE[dial]
                misfit += np.abs(self.dials[:, position] - value) / spread
        misfit += 4.0 * np.abs(np.log2(self.mpp / asked.mpp))
        best = misfit.min()
        if not np.isfinite(best):
            return None
        order = np.argsort(misfit, kind="stable")[:MOST]
        fitting = order[misfit[order] <= best + NEAR]
        rng = np.random.default_rng([seed, 41])
        return self._mirrored(
            int(rng.choice(fitting)), across=bool(rng.integers(2)), down=bool(rng.integers(2))
        )

    def _mirrored(self, index: int, *, across: bool, down: bool) -> Layout:
        """One layout; a mirror turns the direction of a fibre round."""
        step = (slice(None, None, -1 if down else 1), slice(None, None, -1 if across else 1))
        angle = self.fibres[index][step].astype(np.float32) / 255 * np.pi
        return Layout(
            np.ascontiguousarray(self.labels[index][step]),
            np.ascontiguousarray(self.nuclei[index][step]),
            np.ascontiguousarray(self.membranes[index][step]),
            np.ascontiguousarray((np.pi - angle) % np.pi if across != down else angle).astype(np.float32),
            source=SOURCE,
        )
