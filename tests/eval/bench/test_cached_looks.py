"""Baselines from cached looks: nothing, the thumbnail, the run's looks with the options turned."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pathagent_eval.bench.cached_looks import Cached, cached
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Completion, ModelRequest
from pathagent_tools.core.records import Evidence, Findings, MadeBy, Report, SlideRecord
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

LOOK = {
    "tissue": "invasive tumour", "architecture": "solid nests", "nuclear_grade": "high", "mitoses": "many",
    "necrosis": "absent", "inflammation": "none", "artifact": "none", "stain": "dark",
}  # fmt: skip
PLAIN = {**LOOK, "tissue": "stroma", "architecture": "none", "nuclear_grade": "none", "mitoses": "none"}


class DarkIsTumour:
    """Sees tumour where a picture is dark, and answers from the ledger that it is given."""

    id, revision, tile_px, tile_mpp = "dark is tumour", "1", 64, 1.0

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        self.asked += requests
        return [self._completion(self._said(r)) for r in requests]

    @staticmethod
    def _completion(data: dict[str, Any]) -> Completion:
        return Completion(json.dumps(data), data, prompt_tokens=1, completion_tokens=1, seconds=0.0)

    @staticmethod
    def _said(request: ModelRequest) -> dict[str, Any]:
        tumour = "solid nests" in request.user
        if request.role == "describe":
            return {**(LOOK if request.images[0].mean() < 150 else PLAIN), "sentence": ""}
        if request.role == "diagnose":
            name = "solid carcinoma" if tumour else "no significant abnormality"
            return {"differential": [{"diagnosis": name, "grade": "none", "percent": 90}]}
        if request.role == "write":
            return {"sentences": [{"text": "Mitoses are many." if tumour else "Stroma.", "cites": ["E1"]}]}
        unknowable = "HER2" in request.user
        state = "cannot be told from this slide" if unknowable else "answered"
        return {"about": "", "seen": "", "class": state, "answer": "yes" if tumour else "no", "cites": []}


class MeanColour:
    """A picture's mean colour as its embedding."""

    id, revision, tile_px, tile_mpp, dim = "mean colour", "1", 32, 1.0, 3

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return tiles.reshape(len(tiles), -1, 3).mean(1).astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A dark slide: its thumbnail looks like tumour."""
    path, pixels = tmp_path / "dark.tiff", np.full((1024, 1024, 3), (90, 40, 120), np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        resolution = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
        tiff.write(
            pixels, photometric="rgb", tile=(256, 256), compression="jpeg", metadata=None, **resolution
        )
    return path


def report(findings: dict[str, str]) -> Report:
    record = SlideRecord(
        id="S1", name="dark.tiff", digest="0" * 64, vendor=None, width=1024, height=1024, mpp=0.5,
        mpp_source="tiff", stain="H&E", tissue_mm2=0.2, pieces=3, usable=True,
    )  # fmt: skip
    look = Evidence(
        id="E1", region=Region(slide="S1", x=0, y=0, width=384, height=384, mpp=1.0), place="centre",
        pixels_sha256="0" * 64, findings=Findings.model_validate(findings), reason="first",
        made_by=MadeBy(tool="describe"),
    )  # fmt: skip
    return Report(outcome="report", outcome_text="", slides=(record,), claims=(), evidence=(look,))


def looked(slide: Path, model: DarkIsTumour, findings: dict[str, str]) -> Cached:
    return cached(slide, report(findings), model, MeanColour())


def test_the_thumbnail_is_seen_and_the_blind_model_sees_and_reads_nothing(slide: Path) -> None:
    model = DarkIsTumour()
    view = looked(slide, model, PLAIN)
    assert view.thumbnail.text == "Solid carcinoma.\nMitoses are many."
    assert view.blind.text == "No significant abnormality.\nStroma."
    pictures = [r.images[0] for r in model.asked if r.role == "describe"]
    assert sorted(p.mean() == 255 for p in pictures) == [False, True]
    assert view.embedding == pytest.approx([90, 40, 120], abs=4)
    said = view.answers("Is there tumour?", ("yes", "no"), report(PLAIN))
    assert said == {"blind": "no", "thumbnail only": "yes", "shuffled options": "no"}
    blind = next(r for r in model.asked if r.role == "answer")
    assert "3 pieces" not in blind.user


def test_the_options_are_turned_in_the_question_too_and_the_runs_looks_are_read(slide: Path) -> None:
    model = DarkIsTumour()
    options = ("one", "two", "three", "four", "five")
    said = looked(slide, model, LOOK).answers(f"Which? ({'; '.join(options)})", options, report(LOOK))
    assert said["shuffled options"] == "yes"
    shown = model.asked[-1].user
    orders = re.findall(r"\w+(?:; \w+){4}", shown)
    assert len(orders) == 2
    assert orders[0] == orders[1]
    assert orders[0] != "; ".join(options)
    assert sorted(orders[0].split("; ")) == sorted(options)


def test_what_a_model_declines_is_declined_in_the_products_words(slide: Path) -> None:
    said = looked(slide, DarkIsTumour(), LOOK).answers("Is HER2 positive?", (), report(LOOK))
    assert set(said.values()) == {NOT_ASSESSABLE}
