"""Maps of a run: the scan over the overview, where it looked, and tiles that QuPath opens."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_cases import carcinoma

from pathagent.report import write_run
from pathagent.report.figures import Map
from pathagent.report.maps import MOST_TILES, visited
from pathagent.report.tile_map import STOPS, TileMap, colours, heat_over

GREY = np.full((60, 80, 3), 200, np.uint8)


def tiles(count: int = 2) -> TileMap:
    boxes = np.array([[256 * i, 0, 256, 256] for i in range(count)], np.int64)
    hints = ("solid tumour nests", *["stroma"] * (count - 1))
    return TileMap(boxes, np.linspace(1, 0, count), "unusual to the scan", hints)


def test_heat_tints_tiles_by_their_value_and_nothing_else() -> None:
    shown = Map(GREY, 0.0, 0.0, 32.0)
    drawn = heat_over(shown, tiles()).astype(int)
    assert (drawn[20:] == 200).all()
    hot, cold = drawn[4, 4], drawn[4, 12]
    assert np.abs(hot - (0.38 * 200 + 0.62 * np.array(STOPS[-1]))).max() <= 1
    assert np.abs(cold - (0.38 * 200 + 0.62 * np.array(STOPS[0]))).max() <= 1


def test_heat_lies_where_the_map_was_cut_and_the_highest_value_wins() -> None:
    both = TileMap(np.array([[256, 0, 256, 256], [384, 0, 256, 256]]), np.array([1.0, 0.2]), "t")
    drawn = heat_over(Map(GREY, 256.0, 0.0, 32.0), both)
    assert (drawn[4, 6] == drawn[4, 1]).all()
    assert (drawn[4, 9] != drawn[4, 6]).any()
    assert (drawn[4, 13] == 200).all()


def test_colours_grow_lighter() -> None:
    light = colours(np.linspace(0, 1, 20)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > 0).all()


def test_the_visited_map_outlines_every_look() -> None:
    case = carcinoma()
    overview = case.overviews["S1"]
    shown = Map(overview.rgb, 0.0, 0.0, overview.level0_per_px)
    drawn = visited(shown, case.report.evidence)
    for look in case.report.evidence:
        box = shown.box(look.region)
        row, column = round(box.y), round(box.x + box.width / 2)
        assert (drawn[row - 2 : row + 3, column] != shown.rgb[row - 2 : row + 3, column]).any(), look.id


def test_a_folder_holds_maps_and_tiles_where_a_scan_can_be_shown(tmp_path: Path) -> None:
    case = carcinoma()
    out = write_run(tmp_path / "out", case.report, **case.given(), tiles={"S1": tiles(MOST_TILES + 50)})
    with Image.open(out / "maps" / "S1-heat.png") as heat, Image.open(out / "maps" / "S1-looks.png") as looks:
        assert "Research use only" in heat.info["Disclaimer"]
        assert heat.width == looks.width
        assert heat.height > looks.height
    features = json.loads((out / "scan-S1.geojson").read_text())["features"]
    assert len(features) == MOST_TILES
    first = features[0]
    assert uuid.UUID(first["id"])
    assert first["properties"]["objectType"] == "tile"
    assert first["properties"]["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
    assert first["properties"]["measurements"] == {"unusual to the scan": 1.0}
    page = (out / "report.html").read_text()
    assert page.count('class="heat"') == 1
    assert "show-heat" in page


@pytest.mark.parametrize("kept", ["maps/S1-looks.png"])
def test_without_a_scan_there_is_no_heat(kept: str, tmp_path: Path) -> None:
    case = carcinoma()
    out = write_run(tmp_path / "out", case.report, **case.given())
    assert (out / kept).is_file()
    assert not (out / "maps" / "S1-heat.png").exists()
    assert not list(out.glob("scan-*"))
    assert 'class="heat"' not in (out / "report.html").read_text()
