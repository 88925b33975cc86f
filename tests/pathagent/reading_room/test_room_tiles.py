"""Deep zoom: tiles are the slide, level by level, and readers at once do not stand in each other's way."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from rooms import API
from tiny_slides import LESION, SIDE

from pathagent.reading_room import tiles
from pathagent.reading_room.tiles import TILE_PX, TileCache


def picture(answer):
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(answer.content)), dtype=np.float32)


def address(slide, level, column, row):
    return f"{API}/slides/{slide}/slide_files/{level}/{column}_{row}.jpeg"


def test_tiles_are_the_slide(visit, room):
    anna = visit("anna")
    slide = anna.slides()["lesion.tiff"]
    opened = room.library.open(slide)
    top = tiles.top_level(opened)
    assert top == 11 and f'Width="{SIDE}" Height="{SIDE}"' in anna.get(f"{API}/slides/{slide}/slide.dzi").text
    x, y = LESION[0] // TILE_PX, LESION[1] // TILE_PX
    seen = picture(anna.get(address(slide, top, x, y)))
    whole, _ = opened.thumbnail(SIDE)
    wanted = whole[y * TILE_PX : (y + 1) * TILE_PX, x * TILE_PX : (x + 1) * TILE_PX]
    assert seen.shape == wanted.shape and np.abs(seen - wanted).mean() < 4
    last = picture(anna.get(address(slide, top, SIDE // TILE_PX, SIDE // TILE_PX)))
    assert last.shape[:2] == (SIDE % TILE_PX, SIDE % TILE_PX)


@pytest.mark.parametrize(("level", "side"), [(8, 144), (9, 256), (0, 1)])
def test_each_level_is_half_of_the_next(level, side, visit):
    anna = visit("anna")
    slide = anna.slides()["lesion.tiff"]
    assert picture(anna.get(address(slide, level, 0, 0))).shape[:2] == (side, side)


@pytest.mark.parametrize("place", [(12, 0, 0), (11, 5, 0), (11, 0, 5), (11, -1, 0), (-1, 0, 0)])
def test_there_is_no_tile_off_the_slide(place, visit):
    anna = visit("anna")
    assert anna.get(address(anna.slides()["lesion.tiff"], *place)).status_code in (404, 422)


def test_a_slide_without_resolution_can_be_looked_at(visit):
    anna = visit("anna")
    slide = anna.slides()["unsized.tiff"]
    assert picture(anna.get(address(slide, 11, 2, 2))).shape == (TILE_PX, TILE_PX, 3)
    assert picture(anna.get(f"{API}/slides/{slide}/thumbnail.jpeg?px=64")).shape == (64, 64, 3)


def test_eight_readers_at_once(visit):
    anna = visit("anna")
    slide = anna.slides()["lesion.tiff"]
    places = [address(slide, 11, c, r) for c in range(4) for r in range(4)] * 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(anna.get, places))
    assert {a.status_code for a in answers} == {200}
    assert answers[0].content == answers[16].content


def test_the_cache_keeps_what_was_asked_for_last():
    cache = TileCache(limit=30)
    for i in range(3):
        cache.put(("s", 0, 0, i), b"x" * 10)
    assert cache.get(("s", 0, 0, 0)) is not None
    cache.put(("s", 0, 0, 3), b"x" * 10)
    assert cache.get(("s", 0, 0, 1)) is None
    assert cache.get(("s", 0, 0, 0)) is not None
