"""The simpler ways of looking: each goes by its own rule, and none asks a model where to look."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from stand_ins import PROFILE, ColourEncoder, LookingModel
from tiny_slides import LESION

from pathagent.agents.candidates import MAX_OVERLAP
from pathagent.agents.navigation import navigation
from pathagent.agents.simpler import REASONS, check_navigation
from pathagent.budget import Budget
from pathagent.resources import Resources
from pathagent.state import Case, SlideInput
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report
from pathagent_tools.vlm.profile import load_profile

QUESTION = "Is there tumour?"
BUDGET = Budget(looks=6, looks_per_round=3)


def looks(report: Report) -> list[Region]:
    return [e.region for e in report.evidence]


@pytest.mark.parametrize("way", ["random", "grid", "saliency", "question"])
def test_a_simpler_way_looks_by_its_rule_and_never_twice(way: str, draft: Any, lesion_slide: Path) -> None:
    vlm = LookingModel(sufficient_after=99)
    report = draft(lesion_slide, navigation=way, question=QUESTION, budget=BUDGET, vlm=vlm)
    assert len(report.evidence) == BUDGET.looks
    assert {e.reason for e in report.evidence} == {REASONS[way]}
    assert "navigate" not in {request.role for request in vlm.asked}
    assert max(a.overlap(b) for a, b in combinations(looks(report), 2)) <= MAX_OVERLAP


def test_ways_differ_and_a_seed_draws_others(draft: Any, lesion_slide: Path) -> None:
    def regions(way: str, seed: int = 0) -> list[Region]:
        return looks(draft(lesion_slide, navigation=way, question=QUESTION, budget=BUDGET, seed=seed))

    assert regions("random") == regions("random")
    assert regions("random") != regions("random", seed=1)
    assert regions("grid") == regions("grid", seed=1)
    assert regions("grid") != regions("saliency")


def test_without_memory_the_second_round_looks_where_the_first_did(draft: Any, lesion_slide: Path) -> None:
    given = {"budget": BUDGET, "vlm": LookingModel(sufficient_after=99)}
    forgetful = looks(draft(lesion_slide, navigation="no-memory", **given))
    agent = looks(draft(lesion_slide, **given))
    assert len(forgetful) == len(agent) == BUDGET.looks
    assert len(set(agent)) == BUDGET.looks
    assert set(forgetful[:3]) & set(forgetful[3:])


def test_a_grid_covers_what_a_row_of_neighbours_does_not(draft: Any, plain_slide: Path) -> None:
    found = looks(draft(plain_slide, navigation="grid", budget=Budget(looks=4)))
    assert len({(r.center[0] > 576, r.center[1] > 576) for r in found}) == 4


def test_given_places_are_looked_at_in_their_order(lesion_slide: Path) -> None:
    x, y, _, _ = LESION
    places = tuple(Region(slide="S1", x=x + dx, y=y, width=192, height=192, mpp=1.0) for dx in (100, 0))
    case = Case(
        slides=(SlideInput(id="S1", path=str(lesion_slide)),),
        navigation="given",
        places=places,
        budget=Budget(looks_per_round=1),
    )
    with Resources(
        case=case, profile=load_profile(PROFILE), given_vlm=LookingModel(), given_encoder=ColourEncoder()
    ) as resources:
        from pathagent.agents.triage import triage

        state: Any = {"case": case, **triage(resources, {"case": case})}
        assert [look.region for look in navigation(resources, state)["plan"]] == [places[0]]


@pytest.mark.parametrize("way", ["question", "given"])
def test_a_way_without_what_it_goes_by_is_refused(way: Any) -> None:
    with pytest.raises(UserError, match=r"question|places"):
        check_navigation(Case(slides=(), navigation=way))
