"""Which slides to encode, under which names: files, folders, patterns, or TRIDENT's list (`wsi,mpp`)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pathagent.batches.manifest import slides_of
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_bytes
from pathagent_tools.core.geometry import Frozen


class EncodeInput(Frozen):
    """One slide. `name`: of its files; the stem, with a hash where several share it. `mpp`: µm per px."""

    path: str
    name: str
    mpp: float | None = None

    @property
    def state_name(self) -> str:
        """`<stem>__<hash of the path>`: one state a slide, whatever others are called."""
        return f"{Path(self.path).stem}__{_hash(self.path)}"


def read_inputs(given: Sequence[str | Path], *, wsi_dir: Path | None = None) -> list[EncodeInput]:
    """The slides in the order given, each once. wsi_dir: what paths in a CSV are relative to (its folder).

    UserError where nothing is named, or a CSV has no column `wsi`.
    """
    rows: dict[str, float | None] = {}
    for item in map(str, given):
        found = _of_csv(Path(item), wsi_dir) if item.lower().endswith(".csv") else _of_item(item)
        rows |= {str(path.expanduser().resolve()): mpp for path, mpp in found}
    if not rows:
        named = ", ".join(map(str, given)) or "nothing"
        raise UserError(f"No slides in {named}. Give slides, a folder, 'slides/*.svs' or a CSV with wsi,mpp.")
    stems = Counter(Path(path).stem for path in rows)
    return [
        EncodeInput(path=path, name=_name(path, alone=stems[Path(path).stem] == 1), mpp=mpp)
        for path, mpp in rows.items()
    ]


def _of_item(item: str) -> list[tuple[Path, float | None]]:
    return [(path, None) for path in slides_of(item)]


def _of_csv(path: Path, wsi_dir: Path | None) -> list[tuple[Path, float | None]]:
    if not path.is_file():
        raise UserError(f"No such list: {path}. Give a CSV with the columns wsi,mpp.")
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        if "wsi" not in (reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "none"
            raise UserError(f"{path} needs the column wsi (and mpp where it is known); it has: {found}.")
        base = wsi_dir or path.parent
        return [
            (base / row["wsi"], _number(row.get("mpp"), f"{path}, line {i}"))
            for i, row in enumerate(reader, 2)
            if row["wsi"]
        ]


def _number(text: str | None, where: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where}: mpp is {text!r}. Write µm per pixel, for example 0.5.") from None


def _name(path: str, *, alone: bool) -> str:
    stem = Path(path).stem
    return stem if alone else f"{stem}__{_hash(path)}"


def _hash(path: str) -> str:
    return sha256_bytes(path.encode())[:8]
