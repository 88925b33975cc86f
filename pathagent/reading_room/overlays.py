"""What lies over a slide besides evidence: the heat map of the question-free scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pathagent_tools.core.files import write_text_atomic

if TYPE_CHECKING:
    from pathagent.resources import Resources

MOST_TILES: Final = 20_000
"""Above this, every n-th tile is drawn."""


def write_heat(resources: Resources, folder: Path) -> None:
    """Keep `heat-S1.json` of each slide that the run has scanned: tiles in level-0 px, 0..1 unusual."""
    for given in resources.case.slides:
        opened = resources.slide(given.id)
        path = folder / f"heat-{given.id}.json"
        if path.is_file() or not opened.scanned:
            continue
        features, odd = opened.features, opened.anomaly
        step = max(1, -(-len(features) // MOST_TILES))
        tiles = [
            [int(x), int(y), round(float(value), 3)]
            for (x, y), value in zip(features.coords[::step], odd[::step], strict=True)
        ]
        side = round(features.size_level0 * step**0.5)
        write_text_atomic(path, json.dumps({"side": side, "tiles": tiles}))


def heat(folder: Path, slide: str) -> dict[str, Any] | None:
    """The heat map of a slide of a case; None where no run has scanned it."""
    path = folder / f"heat-{slide}.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found
