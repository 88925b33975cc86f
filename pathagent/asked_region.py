"""A region that a person asks about, as they give it: `X,Y,WIDTH,HEIGHT`, or `S2:X,Y,WIDTH,HEIGHT`.

Numbers are level-0 px of the slide that is named; without a name it is the first of the case, S1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from pathagent.state import SlideInput

Box = tuple[int, int, int, int]


def asked_region(region: str | Sequence[int], slides: Sequence[SlideInput]) -> tuple[str, Box]:
    """(name of the slide, (x, y, width, height)). UserError: no region, or of a slide that the case lacks."""
    name, numbers = "S1", region
    if isinstance(region, str):
        before, colon, numbers = region.rpartition(":")
        name = before.strip().upper() if colon else name
    known = {s.id: Path(s.path).name for s in slides}
    if name not in known:
        listed = ", ".join(f"{slide} ({file})" for slide, file in known.items())
        raise UserError(f"This case has no slide {name or 'without a name'}. Its slides: {listed}.")
    return name, box_of(numbers)


def box_of(region: str | Sequence[int]) -> Box:
    """Four numbers, or their text with commas. UserError where it is not that."""
    try:
        parts = region.split(",") if isinstance(region, str) else region
        x, y, width, height = (int(part) for part in parts)
    except (ValueError, TypeError):
        raise UserError(
            f"{region!r} is no region. Write X,Y,WIDTH,HEIGHT in level-0 px, e.g. 0,0,2048,2048; "
            "of another slide of the case S2:0,0,2048,2048."
        ) from None
    return x, y, width, height
