"""Whole-slide images: open them safely, read regions in µm, find the tissue, judge the quality.

Names are imported when they are first used: the processes that decode slides live in this package too, and
start in a tenth of the time without the rest of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathagent_tools.slides.grid import tile_grid
    from pathagent_tools.slides.quality import Quality, check_quality
    from pathagent_tools.slides.reader import Limits
    from pathagent_tools.slides.slide import Slide, open_slide, overview
    from pathagent_tools.slides.tissue import Tissue, tissue_mask

__all__ = [
    "Limits",
    "Quality",
    "Slide",
    "Tissue",
    "check_quality",
    "open_slide",
    "overview",
    "tile_grid",
    "tissue_mask",
]
_HOMES = {
    "Limits": "reader",
    "Quality": "quality",
    "Slide": "slide",
    "Tissue": "tissue",
    "check_quality": "quality",
    "open_slide": "slide",
    "overview": "slide",
    "tile_grid": "grid",
    "tissue_mask": "tissue",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
