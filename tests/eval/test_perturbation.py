"""Where the same question is asked again, and what counts as an answer that hangs on the pixels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pathagent
from pathagent_eval.bench.item import Item, Said
from pathagent_eval.bench.perturbed import answer_changes, right_and_changes
from pathagent_eval.controls import BlankImages
from pathagent_eval.perturbation import (
    BACKGROUND,
    BLANKED,
    FIELD_UM,
    HERE,
    OTHER,
    Box,
    perturbed,
    places,
    questions_of,
)
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring.resampling import Resampling
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.truth import TissueMap

CELL_UM = 16.0
SIDE = int(FIELD_UM / CELL_UM)


class Drawn:
    """What `places` reads of a truth: a class map of 48 × 48 cells, and questions."""

    seed, mpp = 7, 0.5

    def __init__(self, classes: np.ndarray) -> None:
        runs = [n for value in classes.ravel() for n in (int(value), 1)]
        self.tissue_map = TissueMap(
            um_per_cell=CELL_UM, width=classes.shape[1], height=classes.shape[0], classes=k.CLASSES,
            runs=tuple(runs),
        )  # fmt: skip
        self.questions = [
            {"topic": topic, "kind": "yesno", "answer": answer, "text": f"{topic}?", "options": ("yes", "no")}
            for topic, answer in (("invasive tumour", "yes"), ("necrosis", "yes"), ("mucin", "no"))
        ]


def slide() -> np.ndarray:
    """Glass above, stroma below, a tumour of 12 × 12 cells with its corner at row 30, column 4."""
    classes = np.full((48, 48), k.C_STROMA, np.uint8)
    classes[:18] = k.C_BACKGROUND
    classes[30:42, 4:16] = k.C_TUMOUR
    return classes


def share(classes: np.ndarray, box: tuple[int, int, int, int], kind: int) -> float:
    cell = CELL_UM / Drawn.mpp
    x, y, width, height = (round(v / cell) for v in box)
    return float((classes[y : y + height, x : x + width] == kind).mean())


def test_each_place_is_what_it_is_called() -> None:
    classes = slide()
    at = places(Drawn(classes), "invasive tumour")  # type: ignore[arg-type]
    assert at[HERE] == at[BLANKED] == (4 * 32, 30 * 32, 384, 384)
    assert share(classes, at[HERE], k.C_TUMOUR) == 1
    assert share(classes, at[OTHER], k.C_TUMOUR) == 0
    assert share(classes, at[OTHER], k.C_BACKGROUND) < 0.3
    assert share(classes, at[BACKGROUND], k.C_BACKGROUND) == 1
    assert places(Drawn(classes), "invasive tumour") == at  # type: ignore[arg-type]


def test_a_place_that_a_slide_does_not_have_is_left_out() -> None:
    everywhere = np.full((48, 48), k.C_TUMOUR, np.uint8)
    assert set(places(Drawn(everywhere), "invasive tumour")) == {HERE, BLANKED}  # type: ignore[arg-type]
    trace = slide()
    trace[30:42, 4:16] = k.C_STROMA
    trace[30:33, 4:10] = k.C_TUMOUR
    assert places(Drawn(trace), "invasive tumour") == {}  # type: ignore[arg-type]


def test_only_what_one_field_shows_is_asked() -> None:
    asked = questions_of(Drawn(slide()), 5)  # type: ignore[arg-type]
    assert [q["topic"] for q in asked] == ["invasive tumour"]


ITEM = Item(
    id="a", cluster="a", reference="yes", options=("yes", "no"),
    truth={"places": dict.fromkeys((HERE, OTHER, BACKGROUND, BLANKED), (0, 0, 1, 1))},
)  # fmt: skip


def value(metric: Any, text: str | None, perturbed: dict[str, str | None], **options: Any) -> float:
    said = Said(id="a", text=text, status="failed" if text is None else "report", perturbed=perturbed)
    column = metric([ITEM], [said], **options)
    return float(column.estimate(Resampling(["a"], rounds=20)).value)


GONE: dict[str, str | None] = {OTHER: "no", BACKGROUND: "insufficient evidence", BLANKED: "yes"}


def test_another_answer_and_a_refusal_are_changes() -> None:
    assert value(answer_changes, "yes", GONE) == pytest.approx(2 / 3)
    assert value(answer_changes, "yes", GONE, place=OTHER) == 1
    assert value(answer_changes, "yes", GONE, place=BLANKED) == 0
    assert value(right_and_changes, "yes", GONE) == pytest.approx(2 / 3)


def test_a_wrong_answer_that_changes_is_no_sign_of_looking() -> None:
    turned = {OTHER: "yes", BACKGROUND: "yes", BLANKED: "yes"}
    assert value(answer_changes, "no", turned) == 1
    assert value(right_and_changes, "no", turned) == 0


@pytest.mark.parametrize("text", [None, "", "insufficient evidence"])
def test_where_there_was_no_answer_nothing_changes(text: str | None) -> None:
    assert value(answer_changes, text, GONE) == 0


def test_failed_runs_and_error_text_are_unread_and_stay_in_the_denominator() -> None:
    broken = {OTHER: None, BACKGROUND: "Traceback: no answer from the server", BLANKED: "no"}
    assert value(answer_changes, "yes", broken) == pytest.approx(1 / 3)
    said = Said(id="a", text="yes", perturbed=broken)
    assert answer_changes([ITEM], [said]).unparsed == 2
    assert answer_changes([ITEM], [Said(id="a", text="yes")]).unparsed == 3


def test_each_place_is_asked_alone_and_a_failed_run_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Box, bool]] = []

    def ask(slide: Path, question: str, **given: Any) -> Any:
        asked.append((question, given["region"], isinstance(given["vlm"], BlankImages)))
        if given["region"] == (1, 1, 384, 384):
            raise UserError("The region lies outside the slide.")
        return SimpleNamespace(answer="yes" if not asked[-1][2] else None)

    monkeypatch.setattr(pathagent, "ask", ask)
    here, other = (4, 4, 384, 384), (1, 1, 384, 384)
    question = {"text": "Is there necrosis?", "options": ("yes", "no")}
    at = {HERE: here, OTHER: other, BLANKED: here}
    vlm = SimpleNamespace(id="m", revision="1", tile_px=192, tile_mpp=1.0)
    said = perturbed(question, at, Path("slide.tiff"), vlm=vlm, encoder=None)  # type: ignore[arg-type]
    assert said == {HERE: "yes", OTHER: None, BLANKED: ""}
    assert [(box, blank) for _, box, blank in asked] == [(here, False), (other, False), (here, True)]
