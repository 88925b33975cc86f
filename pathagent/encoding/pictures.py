"""Pictures of a job, for eyes and QuPath: thumbnail, tissue outline (JPEG, GeoJSON), tiles taken."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent.report.geojson import NAMESPACE, dump
from pathagent_tools.core.files import canonical_json, write_bytes_atomic, write_text_atomic
from pathagent_tools.core.protocols import Image
from pathagent_tools.slides import Slide, Tissue

THUMBNAIL_PX: Final = 1536
_OUTLINE: Final = (0, 150, 60)
_TILE: Final = (0, 90, 200)
Ring = NDArray[np.float64]


def write_pictures(out: Path, name: str, slide: Slide, tissue: Tissue) -> tuple[Image, float]:
    """`thumbnails/`, `contours/`, `contours_geojson/` of one slide; returns the thumbnail and its scale."""
    thumbnail, per_px = slide.thumbnail(THUMBNAIL_PX)
    rings = tissue_rings(tissue)
    _write_jpeg(out / "thumbnails" / f"{name}.jpg", thumbnail)
    _write_jpeg(out / "contours" / f"{name}.jpg", _drawn(thumbnail, [r / per_px for r in rings], _OUTLINE))
    text = dump(tissue_geojson(slide, rings))
    write_text_atomic(out / "contours_geojson" / f"{name}.geojson", text)
    return thumbnail, per_px


def write_tiles_picture(
    path: Path, thumbnail: Image, per_px: float, coords: NDArray[np.int64], side: int
) -> None:
    """The thumbnail with the outline of every tile."""
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side], [0, 0]])
    _write_jpeg(path, _drawn(thumbnail, [(xy + corners) / per_px for xy in coords], _TILE, width=1))


def tissue_rings(tissue: Tissue) -> list[Ring]:
    """Outlines of the tissue and of its holes, closed, [n, 2] (x, y) in level-0 px."""
    from skimage.measure import find_contours

    padded = np.pad(tissue.mask, 1).astype(np.float32)
    return [(line[:, ::-1] - 0.5) * tissue.level0_per_px for line in find_contours(padded, 0.5)]


def tissue_geojson(slide: Slide, rings: list[Ring]) -> dict[str, Any]:
    """One annotation a piece, holes cut out, in QuPath's px (the corner of the bounds taken off)."""
    from shapely import MultiLineString, affinity, build_area, simplify
    from shapely.geometry import mapping

    left, top, _, _ = slide.bounds
    whole = build_area(MultiLineString([ring for ring in rings if len(ring) > 3]))
    whole = affinity.translate(simplify(whole, 4.0 / slide.mpp), -left, -top)
    pieces = [p for p in getattr(whole, "geoms", [whole]) if p.geom_type == "Polygon" and not p.is_empty]
    return {
        "type": "FeatureCollection",
        "features": [_feature(slide, i, mapping(piece)) for i, piece in enumerate(pieces)],
    }


def _feature(slide: Slide, index: int, geometry: dict[str, Any]) -> dict[str, Any]:
    rings = [[[round(x, 2), round(y, 2)] for x, y in ring] for ring in geometry["coordinates"]]
    content = {
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "name": f"tissue {index}",
            "classification": {"name": "Region*", "color": list(_OUTLINE)},
            "measurements": {"tissue_id": index},
        },
    }
    identity = uuid.uuid5(NAMESPACE, canonical_json([slide.digest, content]))
    return {"type": "Feature", "id": str(identity), **content}


def _drawn(picture: Image, rings: list[Ring], colour: tuple[int, int, int], *, width: int = 3) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageDraw

    canvas = Pillow.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    for ring in rings:
        pen.line([(float(x), float(y)) for x, y in ring], fill=colour, width=width)
    return np.asarray(canvas, np.uint8)


def _write_jpeg(path: Path, picture: Image) -> None:
    import simplejpeg

    write_bytes_atomic(path, simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=85))
