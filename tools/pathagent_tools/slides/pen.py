"""Marker ink on the glass: colours that no tissue stain has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.slides.background import Floats


def pen_mask(od: Floats) -> NDArray[np.bool_]:
    """Pixels whose optical-density direction is that of ink. od: [h, w, 3] → bool [h, w].

    Green absorbs red and blue most; blue and red inks are nearly pure in one or two channels; black is
    grey where the stroke is thin and nearly grey over tissue: no tissue of that density is grey. Red ink
    absorbs more green than blue, silver stains the other way round. Blue ink is only told from blue
    stains where most of the foreground is not blue.
    """
    total = od.sum(-1)
    share = od / np.maximum(total, 1e-3)[..., None]
    red, green, blue = share[..., 0], share[..., 1], share[..., 2]
    inked = total > 0.35
    green_ink = inked & (green < red - 0.06) & (green < blue + 0.02) & (red > 0.36)
    red_ink = (total > 0.8) & (red < 0.105) & (blue - red > 0.33) & (green > blue)
    chroma = share.max(-1) - share.min(-1)
    black_ink = ((total > 1.8) & (chroma < 0.07)) | ((total > 3.3) & (chroma < 0.10))
    ink = np.asarray(green_ink | red_ink | black_ink)
    blue_ink = inked & (red > green + 0.09) & (red - blue > 0.22)
    if blue_ink.sum() < 0.3 * max(1, int(inked.sum())):
        ink |= blue_ink
    return ink
