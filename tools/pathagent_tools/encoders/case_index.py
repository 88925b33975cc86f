"""Cases that can be found again: by a region, by words, by a whole case. Exact search with Faiss.

A folder of `index.json` (encoder, cases, files), `tiles-*.faiss` and `cases-*.faiss` (unit vectors, inner
product) and `places-*.npy` (case number, x, y, side of each tile). What is added goes to new files; the
manifest that names them is replaced last, so an index is never half of one state and half of another.
Vectors of different encoders, or of other weights of the same one, mean different things: an index holds
those of one revision and says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import held, sha256_file, write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.encoders.reading import unit

Floats = NDArray[np.float32]
INDEX_NAME: Final = "index.json"
FORMAT: Final = 1
TILES_A_CASE: Final = 512
"""Of a larger slide this many tiles are kept, evenly spread over its grid."""
_PARTS: Final = {"tiles": "faiss", "cases": "faiss", "places": "npy"}


class IndexedCase(Frozen):
    """One slide that was added. `text`: its report or diagnosis, where the user gave one."""

    name: str
    slide_digest: str
    mpp: float
    tiles: int
    text: str = ""


class Manifest(Frozen):
    """`index.json`: whose vectors these are, and the cases in the order of their numbers."""

    format: int = FORMAT
    encoder: str
    revision: str
    dim: int
    cases: tuple[IndexedCase, ...] = ()
    files: dict[str, tuple[str, str]] = Field(default={}, description="part → (file name, sha256)")


@dataclass(frozen=True, slots=True)
class TileHit:
    """A tile of an indexed case: level-0 px of that slide, and the cosine."""

    case: IndexedCase
    x: int
    y: int
    side: int
    likeness: float


@dataclass(frozen=True, slots=True)
class CaseHit:
    """An indexed case and its likeness: the cosine, or the mean of its likest tiles."""

    case: IndexedCase
    likeness: float


@dataclass(frozen=True)
class Addition:
    """What is added: `coords` int64 [N, 2] level-0 corners of tiles of `side` px, `features` [N, D]."""

    name: str
    slide_digest: str
    mpp: float
    coords: NDArray[np.int64]
    side: int
    features: Floats
    text: str = ""
    vector: Floats | None = None
    """The slide's embedding [D] where there is a better one than the mean of its tiles."""


class CaseIndex:
    """An index in a folder. `open` reads one, `begin` starts one; `add` keeps what it was given at once."""

    def __init__(self, folder: Path, manifest: Manifest, parts: Sequence[Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self._tiles, self._cases, self._places = parts

    @classmethod
    def begin(cls, folder: Path, *, encoder: str, revision: str, dim: int) -> Self:
        """A new, empty index. UserError where `folder` holds anything."""
        import faiss

        if folder.exists() and (not folder.is_dir() or any(p.name != ".lock" for p in folder.iterdir())):
            raise UserError(f"{folder} holds other things. Choose an empty folder for the index.")
        parts = (faiss.IndexFlatIP(dim), faiss.IndexFlatIP(dim), np.empty((0, 4), np.int64))
        return cls(folder, Manifest(encoder=encoder, revision=revision, dim=dim), parts)

    @classmethod
    def open(cls, folder: Path, *, encoder: str | None = None, revision: str | None = None) -> Self:
        """Read an index. UserError: none there, damaged, or of another encoder than the one asked for."""
        import faiss

        manifest = _manifest(folder)
        for what, wanted, found in (
            ("encoder", encoder, manifest.encoder), ("encoder revision", revision, manifest.revision),
        ):  # fmt: skip
            if wanted is not None and wanted != found:
                raise UserError(
                    f"{folder} is an index of {what} {found}, not of {wanted}: their vectors cannot be "
                    "compared. Use that encoder, or index the cases again into another folder."
                )
        paths = {}
        for part in _PARTS:
            name, digest = manifest.files.get(part, ("", "none"))
            paths[part] = folder / name
            if not paths[part].is_file() or sha256_file(paths[part]) != digest:
                raise UserError(f"{folder}: its {part} are missing or damaged. Index the cases again.")
        places = np.load(paths["places"], allow_pickle=False)
        tiles, cases = (faiss.read_index(str(paths[part])) for part in ("tiles", "cases"))
        return cls(folder, manifest, (tiles, cases, places))

    def add(self, additions: Iterable[Addition]) -> list[IndexedCase]:
        """Add cases and save. A slide that is there already (by its bytes) is left out of the answer.

        UserError: another process writes or has written, features of another size, a slide without a tile.
        """
        busy = "Process {holder} writes this index. Wait for it."
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder / ".lock", busy):
            if (self.folder / INDEX_NAME).is_file() and _manifest(self.folder) != self.manifest:
                raise UserError(f"{self.folder} has changed since it was opened. Run the same command again.")
            known = {c.slide_digest for c in self.manifest.cases}
            added = []
            for new in additions:
                if new.slide_digest not in known:
                    added.append(self._add(new))
                    known.add(new.slide_digest)
            self._save()
        return added

    def similar_tiles(self, vector: Floats, count: int = 10) -> list[TileHit]:
        """The tiles whose vectors are likest to `vector` [D], of all cases."""
        likeness, rows = self._tiles.search(self._query(vector), min(count, self._tiles.ntotal))
        return [self._tile(int(r), float(s)) for s, r in zip(likeness[0], rows[0], strict=True) if r >= 0]

    def similar_cases(self, vector: Floats, count: int = 10) -> list[CaseHit]:
        """The cases whose slide embeddings are likest to `vector` [D]."""
        likeness, rows = self._cases.search(self._query(vector), min(count, self._cases.ntotal))
        cases = self.manifest.cases
        return [CaseHit(cases[r], float(s)) for s, r in zip(likeness[0], rows[0], strict=True) if r >= 0]

    def cases_with(self, vector: Floats, count: int = 10, *, tiles: int = 5) -> list[CaseHit]:
        """The cases that show most of it: by the mean likeness of their `tiles` likest tiles."""
        if not self.manifest.cases:
            return []
        everything = self._tiles.reconstruct_n(0, self._tiles.ntotal) @ self._query(vector)[0]
        of = self._places[:, 0]
        scores = [np.sort(everything[of == n])[-tiles:].mean() for n in range(len(self.manifest.cases))]
        order = np.argsort(-np.asarray(scores), kind="stable")[:count]
        return [CaseHit(self.manifest.cases[n], float(scores[n])) for n in order]

    def _query(self, vector: Floats) -> Floats:
        if vector.shape != (self.manifest.dim,):
            raise UserError(
                f"{self.folder} holds vectors of {self.manifest.dim} numbers, the query has "
                f"{list(vector.shape)}: it is of another encoder than {self.manifest.encoder}."
            )
        return unit(vector[None])

    def _tile(self, row: int, likeness: float) -> TileHit:
        number, x, y, side = (int(v) for v in self._places[row])
        return TileHit(self.manifest.cases[number], x, y, side, likeness)

    def _add(self, new: Addition) -> IndexedCase:
        if new.features.ndim != 2 or new.features.shape[1] != self.manifest.dim:
            raise UserError(
                f"{new.name}: features {list(new.features.shape)} are not of encoder "
                f"{self.manifest.encoder}, whose vectors have {self.manifest.dim} numbers."
            )
        if len(new.features) == 0:
            raise UserError(f"{new.name} has no tile of tissue: there is nothing to index.")
        kept = np.unique(np.linspace(0, len(new.features) - 1, TILES_A_CASE).round().astype(int))
        vectors = unit(new.features)
        whole = unit((vectors.mean(0) if new.vector is None else new.vector)[None])
        number = len(self.manifest.cases)
        rows = np.column_stack(
            [np.full(len(kept), number), new.coords[kept], np.full(len(kept), new.side)]
        ).astype(np.int64)
        self._tiles.add(vectors[kept])
        self._cases.add(whole)
        self._places = np.vstack([self._places, rows])
        case = IndexedCase(
            name=new.name, slide_digest=new.slide_digest, mpp=new.mpp, tiles=len(kept), text=new.text
        )
        self.manifest = self.manifest.model_copy(update={"cases": (*self.manifest.cases, case)})
        return case

    def _save(self) -> None:
        """New files beside the old ones, then the manifest that names them, then the old ones go."""
        import faiss

        old = {name for name, _ in self.manifest.files.values()}
        files = {}
        for part, kept in zip(_PARTS, (self._tiles, self._cases, self._places), strict=True):
            name = f"{part}-{len(self.manifest.cases):06d}.{_PARTS[part]}"
            path = self.folder / name
            if part == "places":
                np.save(path, kept, allow_pickle=False)
            else:
                faiss.write_index(kept, str(path))
            files[part] = (name, sha256_file(path))
        self.manifest = self.manifest.model_copy(update={"files": files})
        write_text_atomic(self.folder / INDEX_NAME, self.manifest.model_dump_json(indent=1) + "\n")
        for name in old - {name for name, _ in files.values()}:
            (self.folder / name).unlink(missing_ok=True)


def index_digest(folder: Path) -> str:
    """Digest of the manifest, which names every part by its own. UserError where there is no index."""
    return sha256_file(_manifest_path(folder))


def _manifest_path(folder: Path) -> Path:
    path = folder / INDEX_NAME
    if not path.is_file():
        raise UserError(f"{folder} is no case index. Make one: pathagent cases add SLIDES --index {folder}")
    return path


def _manifest(folder: Path) -> Manifest:
    path = _manifest_path(folder)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("format") == FORMAT:
            return Manifest.model_validate(found)
    except (ValueError, ValidationError) as error:
        raise UserError(f"{path} cannot be read: {type(error).__name__}. Index the cases again.") from error
    raise UserError(f"{path} is of another version of the index. Index the cases again.")
