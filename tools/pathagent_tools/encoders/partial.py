"""Features that are being made: kept on disk as they come, so a run that is stopped goes on from there.

Beside `slide.h5` stand, until it is whole, `slide.h5.part` (the features as raw float32, row by row) and
`slide.h5.journal` (first line: what they are of; then one line a chunk that is complete). A chunk is
counted only after its features have reached the disk.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.files import canonical_json, sha256_bytes
from pathagent_tools.encoders.store import StoreKey, write_features

Floats = NDArray[np.float32]


class PartialFeatures:
    """Features [N, dim] of one slide on their way into `path`. Memory does not grow with N.

    Takes over what an earlier run left for the same key, coordinates and reading order; anything else
    there is forgotten. `done`: chunks that need not be computed again.
    """

    def __init__(
        self, path: Path, key: StoreKey, coords: NDArray[np.int64], order: NDArray[np.intp], dim: int
    ) -> None:
        self.path, self.key, self.coords = path, key, coords
        self._part, self._log = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.journal")
        self._shape = (len(coords), dim)
        path.parent.mkdir(parents=True, exist_ok=True)
        identity = canonical_json(
            [key.attributes(), self._shape, sha256_bytes(coords.tobytes()), sha256_bytes(order.tobytes())]
        )
        self.done = self._earlier(identity)
        if not self.done:
            self._log.write_text(json.dumps({"of": identity}) + "\n", encoding="utf-8")
            self._part.unlink(missing_ok=True)
        self._journal: TextIO = self._log.open("a", encoding="utf-8")
        self._features: Floats | None = None
        if len(coords):
            mode = "r+" if self.done else "w+"
            self._features = np.memmap(self._part, np.float32, mode, shape=self._shape)  # type: ignore[call-overload]

    def put(self, indices: NDArray[np.intp], features: Floats) -> None:
        """Keep the features of some coordinates."""
        assert self._features is not None
        self._features[indices] = features

    def complete(self, chunk: int) -> None:
        """All features of a chunk have been put."""
        assert isinstance(self._features, np.memmap)
        self._features.flush()
        self._journal.write(f"{chunk}\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self.done.add(chunk)

    def finish(self) -> None:
        """Write the HDF5 file and remove what stood beside it."""
        features = np.empty(self._shape, np.float32) if self._features is None else self._features
        write_features(self.path, self.key, self.coords, features)
        self.close()
        self._log.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; what is complete stays for the next run."""
        self._journal.close()
        self._features = None

    def _earlier(self, identity: str) -> set[int]:
        """Chunks that an earlier run of the same work completed."""
        size = self._shape[0] * self._shape[1] * np.dtype(np.float32).itemsize
        if not self._log.is_file() or not self._part.is_file() or self._part.stat().st_size != size:
            return set()
        first, *lines = self._log.read_text(encoding="utf-8").splitlines() or [""]
        if first != json.dumps({"of": identity}):
            return set()
        return {int(line) for line in lines if line.isdecimal()}
