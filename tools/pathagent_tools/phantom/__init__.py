"""Phantoms: procedurally rendered H&E-like slides whose truth is known exactly.

`make_phantom(seed, size)` plans a slide, `Phantom.render` paints any window of it, `write_slide` writes a
pyramidal TIFF with `truth.json` beside it, `sample_tile(seed)` draws a training tile. Nothing here looks
like a patient: phantoms check software, they teach no pathology.
"""

from __future__ import annotations

from typing import Final

PHANTOM_VERSION: Final[int] = 1
"""Changes whenever the same seed gives other pixels or another truth."""
