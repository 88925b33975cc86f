"""Words over a slide, and an index of slides: through the interface that users call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from stand_ins import ColourEncoder
from tiny_slides import LESION

import pathagent
from pathagent.cli import run
from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.slide_text import SlideTextHead, save_head


class DarkWord(ColourEncoder):
    """Knows one word: `dark` points from light tiles to dark ones."""

    id = "dark-word"

    def encode_texts(self, texts):  # type: ignore[no-untyped-def]
        dark: NDArray[np.float32] = np.array([[-1, -1, -1, 1, 1, 1, -1, -1, -1]], np.float32)
        return np.repeat(dark, len(texts), 0)


class Wordless(ColourEncoder):
    id = "wordless"

    def encode_texts(self, texts):  # type: ignore[no-untyped-def]
        raise UserError("Encoder 'wordless' has no text tower.")


def inside_lesion(box: dict[str, float]) -> bool:
    x, y, width, height = LESION
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    return x <= middle[0] < x + width and y <= middle[1] < y + height


def test_the_likest_places_are_where_the_words_apply(lesion_slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    found = pathagent.slide_map(lesion_slide, "dark", out=out, encoder=DarkWord())
    assert all(inside_lesion(place) for place in found.best(3))
    with Image.open(out) as picture:
        assert picture.info["Words"] == "dark"
        assert np.array_equal(np.asarray(picture), found.picture)


def test_a_map_is_not_replaced_unasked_and_needs_words(lesion_slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    out.write_text("mine")
    with pytest.raises(UserError, match="--force"):
        pathagent.slide_map(lesion_slide, "dark", out=out, encoder=DarkWord())
    with pytest.raises(UserError, match="Words are needed"):
        pathagent.slide_map(lesion_slide, " ", encoder=DarkWord())
    with pytest.raises(UserError, match="PNG"):
        pathagent.slide_map(lesion_slide, "dark", out=tmp_path / "map.jpg", encoder=DarkWord())
    with pytest.raises(UserError, match="no text tower"):
        pathagent.slide_map(lesion_slide, "dark", encoder=Wordless())
    assert out.read_text() == "mine"


def test_similar_cases_by_words_region_and_slide(
    lesion_slide: Path, plain_slide: Path, brown_slide: Path, tmp_path: Path
) -> None:
    index, encoder = tmp_path / "index", DarkWord()
    added = pathagent.index_cases(
        [lesion_slide, plain_slide, brown_slide], index, texts={"lesion": "a tumour"}, encoder=encoder
    )
    assert [c.name for c in added] == ["lesion.tiff", "plain.tiff", "brown.tiff"]
    assert pathagent.index_cases(lesion_slide, index, encoder=encoder) == []
    cases, tiles = pathagent.similar(index, slide=lesion_slide, encoder=encoder)
    assert [c.case.name for c in cases] == ["plain.tiff", "brown.tiff"]
    assert "lesion.tiff" not in {t.case.name for t in tiles}
    by_region, _ = pathagent.similar(index, slide=plain_slide, region=(400, 400, 400, 400), encoder=encoder)
    assert by_region[0].case.name == "lesion.tiff"
    by_words, found = pathagent.similar(index, text="dark", encoder=encoder)
    assert len(by_words) == 3
    assert found[0].likeness >= found[-1].likeness
    assert next(c for c in by_words if c.case.name == "lesion.tiff").case.text == "a tumour"
    with pytest.raises(UserError, match="no tissue tile"):
        pathagent.similar(index, slide=lesion_slide, region=(0, 0, 10, 10), encoder=encoder)
    with pytest.raises(UserError, match="not of wordless"):
        pathagent.similar(index, text="dark", encoder=Wordless())
    with pytest.raises(UserError, match="Search by"):
        pathagent.similar(index, text="dark", slide=lesion_slide, encoder=encoder)


def test_a_case_is_found_by_its_report_where_the_encoder_has_a_head(
    lesion_slide: Path, plain_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weight = np.concatenate([np.eye(9), np.zeros((9, 9))], 1)
    queries = 40 * DarkWord().encode_texts(["dark"])
    sides = {
        f"{side}_{what}": a
        for side in ("slide", "text")
        for what, a in (("weight", weight), ("queries", queries))
    }
    save_head(SlideTextHead(sides), tmp_path)
    encoder, index = DarkWord(), tmp_path / "index"
    encoder.folder = tmp_path  # type: ignore[attr-defined]
    pathagent.index_cases([plain_slide, lesion_slide], index, encoder=encoder)
    cases, tiles = pathagent.similar(index, report="Dark nests. No more.", encoder=encoder)
    assert [c.case.name for c in cases] == ["lesion.tiff", "plain.tiff"] and tiles == []
    by_slide, _ = pathagent.similar(index, slide=plain_slide, encoder=encoder)
    assert [c.case.name for c in by_slide] == ["lesion.tiff"]
    with pytest.raises(UserError, match="no slide_text"):
        pathagent.similar(index, report="Dark nests.", encoder=DarkWord())
    with pytest.raises(UserError, match="Search by"):
        pathagent.similar(index, report="Dark nests.", text="dark", encoder=encoder)
    assert run(["cases", "find", "--index", str(index), "--report", str(tmp_path / "absent.txt")]) == 2
    assert "cannot be read as a text" in capsys.readouterr().err
