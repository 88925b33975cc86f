"""What a reader hears of files: their names. Where they lie on the server is not told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def named(text: str, path: Path) -> str:
    """The text with a slide, and its neighbours, by name: `/srv/a/x.svs is damaged` → `x.svs is damaged`.

    path: absolute, as the text quotes it.
    """
    folder = str(path.parent)
    if folder == path.anchor:
        return text.replace(str(path), path.name)
    return re.sub(rf"{re.escape(folder)}(?!\w)", "its folder", text.replace(f"{folder}/", ""))


def shortened(text: str, folders: Iterable[Path]) -> str:
    """The text with each folder by its last name: `/srv/data/cases/1` → `data/cases/1`."""
    known = {str(spelt): spelt.name for f in folders for spelt in (f, f.resolve()) if spelt.name}
    for folder in sorted(known, key=len, reverse=True):
        text = known[folder].join(re.split(rf"{re.escape(folder)}(?!\w)", text))
    return text
