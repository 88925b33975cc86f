"""Pictures of a report: what was looked at, how large it is, and where on the slide it lies.

Evidence PNG files hold exactly the pixels that were looked at; scale bars and insets are drawn over
them by the page, so a picture can always be compared with the digest in the report.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from pathagent_tools.core.geometry import Frozen, Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Evidence, SlideRecord
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

_BAR_SHARE: Final = 0.36
_BLANK: Final = 12
_MARGIN: Final = 0.03


@dataclass(frozen=True, slots=True)
class Overview:
    """A whole slide in one picture: RGB uint8 [h, w, 3], its corner at level-0 (0, 0)."""

    rgb: Image
    level0_per_px: float


class ScaleBar(Frozen):
    """A bar of a round length: `um` µm, `share` of the picture's width."""

    um: float
    share: float

    @property
    def text(self) -> str:
        """`50 µm` or `2 mm`."""
        return f"{self.um:g} µm" if self.um < 1000 else f"{self.um / 1000:g} mm"


class Box(Frozen):
    """A rectangle in pixels of a picture."""

    x: float
    y: float
    width: float
    height: float


def scale_bar(width_um: float) -> ScaleBar:
    """The longest bar of 1, 2 or 5 times a power of ten that takes at most 36 % of the width."""
    room = width_um * _BAR_SHARE
    power = 10.0 ** math.floor(math.log10(room))
    length = max(step * power for step in (1, 2, 5) if step * power <= room)
    return ScaleBar(um=round(length, 6), share=length / width_um)


def jpeg_uri(image: Image, *, max_px: int, quality: int) -> str:
    """`data:image/jpeg;base64,…` of an RGB picture with its longer side at most `max_px`."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(image)
    picture.thumbnail((max_px, max_px), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def evidence_png(image: Image, evidence: Evidence, slide: SlideRecord) -> bytes:
    """The pixels of one look as PNG, with the place it comes from as text entries."""
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    region = evidence.region
    info = PngInfo()
    for key, value in {
        "Software": "PathAgent",
        "Disclaimer": RESEARCH_USE_ONLY,
        "Evidence": evidence.id,
        "Slide": f"{slide.id} sha256:{slide.digest}",
        "Region": f"x={region.x} y={region.y} width={region.width} height={region.height} (level-0 px)",
        "MPP": f"{region.mpp:g} µm per px",
        "Pixels": f"sha256:{evidence.pixels_sha256}",
    }.items():
        info.add_itxt(key, value)
    out = io.BytesIO()
    Pillow.fromarray(image).save(out, "PNG", pnginfo=info)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Map:
    """The part of an overview that shows something, and where it lies on the slide."""

    rgb: Image
    x: float
    y: float
    level0_per_px: float

    def box(self, region: Region) -> Box:
        """A region of the slide in pixels of this map."""
        scale = self.level0_per_px
        return Box(
            x=(region.x - self.x) / scale,
            y=(region.y - self.y) / scale,
            width=region.width / scale,
            height=region.height / scale,
        )


def map_of(overview: Overview, regions: list[Region]) -> Map:
    """The overview without its empty border; all `regions` stay inside."""
    scale = overview.level0_per_px
    height, width = overview.rgb.shape[:2]
    left, top, right, bottom = _content(overview.rgb)
    for region in regions:
        left, top = min(left, region.x / scale), min(top, region.y / scale)
        right = max(right, (region.x + region.width) / scale)
        bottom = max(bottom, (region.y + region.height) / scale)
    pad = _MARGIN * max(width, height)
    x0, y0 = max(0, int(left - pad)), max(0, int(top - pad))
    x1, y1 = min(width, math.ceil(right + pad)), min(height, math.ceil(bottom + pad))
    return Map(overview.rgb[y0:y1, x0:x1], x0 * scale, y0 * scale, scale)


def _content(rgb: Image) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what differs from the picture's brightest common colour."""
    height, width = rgb.shape[:2]
    background = np.percentile(rgb[::4, ::4].reshape(-1, 3), 95, axis=0)
    far = (background - rgb.astype(np.float32)).max(axis=-1) > _BLANK
    rows, columns = far.mean(axis=1) > 0.01, far.mean(axis=0) > 0.01
    if not rows.any() or not columns.any():
        return 0, 0, width, height
    y, x = np.flatnonzero(rows), np.flatnonzero(columns)
    return float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1)
