"""Where a run has been, as pictures and regions: `maps/S1-looks.png`, `S1-heat.png`, `scan-S1.geojson`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pathagent.report import geojson
from pathagent.report.figures import Map
from pathagent.report.tile_map import TileMap, heat_over, with_key
from pathagent.report.view import SlideView
from pathagent_tools.core.files import write_bytes_atomic, write_text_atomic
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Evidence, Report
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

MOST_TILES: Final = 2000
"""Tiles of a slide that its GeoJSON holds, those that stand out most."""
_LOOK: Final = (10, 42, 102)
_PATH: Final = (214, 90, 0)


def write_maps(
    folder: Path,
    report: Report,
    slides: Sequence[SlideView],
    tiles: Mapping[str, TileMap],
    bounds: Mapping[str, tuple[int, int]],
) -> None:
    """The visited map of each slide, and the heat map and the tiles of each that was scanned."""
    (folder / "maps").mkdir()
    for slide in slides:
        name = slide.record.id
        looks = [e for e in report.evidence if e.region.slide == name]
        _write(folder / "maps" / f"{name}-looks.png", visited(slide.map, looks))
        if name not in tiles:
            continue
        heat = with_key(heat_over(slide.map, tiles[name]), tiles[name].title)
        _write(folder / "maps" / f"{name}-heat.png", heat)
        found = scan_geojson(report, name, tiles[name], bounds)
        write_text_atomic(folder / f"scan-{name}.geojson", geojson.dump(found))


def visited(shown: Map, looks: Sequence[Evidence]) -> Image:
    """The map with each look's field outlined and numbered, joined in the order of looking."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    picture = Pillow.fromarray(shown.rgb)
    pen = ImageDraw.Draw(picture)
    line = max(2, picture.width // 500)
    font = ImageFont.load_default(max(11, picture.width // 55))
    boxes = [shown.box(e.region) for e in looks]
    middles = [(b.x + b.width / 2, b.y + b.height / 2) for b in boxes]
    if len(middles) > 1:
        pen.line(middles, fill=_PATH, width=line)
    for look, box in zip(looks, boxes, strict=True):
        frame = (box.x, box.y, box.x + box.width, box.y + box.height)
        pen.rectangle(frame, outline=_LOOK, width=line)
        tag = pen.textbbox((frame[2] + line, frame[1]), look.id, font=font)
        pen.rectangle((tag[0] - line, tag[1] - line, tag[2] + line, tag[3] + line), fill=_LOOK)
        pen.text((frame[2] + line, frame[1]), look.id, fill=(255, 255, 255), font=font)
    return np.asarray(picture)


def scan_geojson(
    report: Report, slide: str, tiles: TileMap, bounds: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """The tiles that stood out most as QuPath tiles with a class, a colour and the value."""
    record = next(s for s in report.slides if s.id == slide)
    order = np.argsort(-tiles.values, kind="stable")[:MOST_TILES]
    features = [
        geojson.tile(
            tiles.hints[i] if tiles.hints else tiles.title,
            [int(v) for v in tiles.boxes[i]],
            record,
            bounds[slide],
            {tiles.title: round(float(tiles.values[i]), 4)},
        )
        for i in sorted(order)
    ]
    return {"type": "FeatureCollection", "features": features}


def _write(path: Path, image: Image) -> None:
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("Software", "PathAgent")
    info.add_itxt("Disclaimer", RESEARCH_USE_ONLY)
    out = io.BytesIO()
    Pillow.fromarray(image).save(out, "PNG", pnginfo=info)
    write_bytes_atomic(path, out.getvalue())
