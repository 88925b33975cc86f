"""Measuring navigation: what counts as a look at the lesion, the curve, the pairs, and who pays a model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pathagent_eval.navigation.recalled import RecalledVlm
from pathagent_eval.navigation.slides import LOOK_ALIKES, SHARES, SlideTruth, planned, truth_of, unfit
from pathagent_eval.navigation.table import curve_area, first_hit, is_hit, markdown, table
from pathagent_eval.navigation.walk import Walk
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Completion, ModelRequest


def truth(side: int) -> SlideTruth:
    """A square lesion of `side` level-0 px whose corner is at (1000, 1000)."""
    ring = ((1000, 1000), (1000 + side, 1000), (1000 + side, 1000 + side), (1000, 1000 + side), (1000, 1000))
    return SlideTruth(
        seed=1, size="small", diagnosis="adenoma", grade="high-grade dysplasia", scanner="s",
        held_out_scanner=False, mpp=0.5, tissue_mm2=5, lesion_mm2=0.01, shown=1, lesion=(ring,),
        passed_over={},
    )  # fmt: skip


def look(x: int, y: int) -> Region:
    return Region(slide="S1", x=x, y=y, width=384, height=384, mpp=1.0)


def test_a_look_hits_by_half_of_a_small_lesion_or_a_tenth_of_itself() -> None:
    small, large = truth(100), truth(2000)
    assert is_hit(look(1050 - 384, 1000), small)
    assert not is_hit(look(1048 - 384, 1000), small)
    tenth = math.ceil(384 / 10)
    assert is_hit(look(1000 - 384 + tenth, 1000), large)
    assert not is_hit(look(1000 - 384 + tenth - 2, 1000), large)


def test_the_first_hit_and_the_area_under_the_curve() -> None:
    off, on = look(5000, 5000), look(1000, 1000)
    assert first_hit(Walk(looks=(off, on, on)), truth(100)) == 2
    assert first_hit(Walk(looks=(off,)), truth(100)) is None
    assert [curve_area(n, 8) for n in (1, 8, None)] == [1.0, 0.125, 0.0]


def test_the_table_pairs_the_agent_with_each_way() -> None:
    seeds = list(range(40))
    ways = {"agent": [1] * 40, "random": [None] * 30 + [2] * 10, "oracle": [1] * 40}
    found = table(ways, seeds, 8)
    random, oracle = found["ways"]["random"], found["ways"]["oracle"]
    assert random["looked_at"]["value"] == 0.25
    assert random["hit_curve"][:2] == [0.0, 0.25]
    assert random["agent_gain_looked_at"]["value"] == 0.75
    assert random["agent_gain_looked_at"]["verdict"] == "better"
    assert oracle["agent_gain_area_under_hit_curve"]["verdict"] == "no difference shown"
    assert "| random | 0.250" in markdown(found)


def test_a_slide_has_a_small_lesion_that_shows_disease_among_look_alikes() -> None:
    phantom, held_out = planned(78_900_000, "small")
    found = truth_of(phantom, held_out=held_out, passed_over={})
    coarse = float(phantom.diseased.mask.sum()) * 64e-6
    assert found.lesion_mm2 == pytest.approx(coarse, rel=0.25)
    least, most = SHARES["small"]
    assert least * 0.7 <= found.share <= most * 1.3
    kinds = {p.kind for p in phantom.layout.look_alikes} | {a.kind for a in phantom.artifacts}
    assert (unfit(phantom, found) == "") == (
        set(LOOK_ALIKES) <= kinds and 0.9 * least <= found.share <= most and found.shown >= 0.1
    )
    assert "no crush" in unfit(replace(phantom, artifacts=()), found)


class Counting:
    id, revision, tile_px, tile_mpp = "counting", "1", 8, 1.0

    def __init__(self) -> None:
        self.asked = 0

    def generate(self, requests: list[ModelRequest]) -> list[Completion]:
        self.asked += len(requests)
        return [Completion("{}", {"n": self.asked}, 1, 1, 0.0, confidence=0.5) for _ in requests]


def test_what_was_asked_once_is_not_asked_again(tmp_path: Path) -> None:
    def request(grey: int) -> ModelRequest:
        return ModelRequest("describe", "s", "u", {}, (np.full((8, 8, 3), grey, np.uint8),))

    vlm = Counting()
    path = tmp_path / "answers.sqlite"
    first = RecalledVlm(vlm, path).generate([request(1), request(2), request(1)])
    again = RecalledVlm(vlm, path).generate([request(2), request(1)])
    assert vlm.asked == 2
    assert again == [first[1], first[0]]
    RecalledVlm(vlm, path, weights="another adapter").generate([request(1)])
    assert vlm.asked == 3
