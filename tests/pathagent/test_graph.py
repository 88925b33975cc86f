from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Send
from pydantic import BaseModel
from stand_ins import PROFILE, ColourEncoder, LookingModel

from pathagent.graph import after_diagnosis, after_navigation, after_triage, build_graph
from pathagent.resources import Resources
from pathagent.state import Case, Look, SlideInput
from pathagent_tools.core.geometry import Region
from pathagent_tools.vlm.profile import load_profile

REGION = Region(slide="S1", x=0, y=0, width=10, height=10, mpp=1.0)
LOOK = Look(id="E1", region=REGION, place="centre", reason="r", chosen_by="quota", reading="read")


def test_routes() -> None:
    assert after_triage({"reading": "none"}) == "measure"
    assert after_triage({"reading": "read"}) == "navigation"
    assert after_navigation({"plan": []}) == "measure"
    orders = after_navigation({"plan": [LOOK] * 5})
    assert all(isinstance(o, Send) and o.node == "description" for o in orders)
    assert [len(o.arg["looks"]) for o in orders] == [1, 3, 1]
    again = after_navigation({"plan": [LOOK] * 5, "evidence": {"E1": LOOK}})
    assert [len(o.arg["looks"]) for o in again] == [3, 2]
    assert [len(o.arg["looks"]) for o in after_navigation({"plan": [LOOK]})] == [1]
    assert after_diagnosis({"stop": ""}) == "navigation"
    assert after_diagnosis({"stop": "the budget of 3 looks is spent"}) == "measure"


def leaves(value: Any) -> list[Any]:
    if isinstance(value, BaseModel):
        return leaves(dict(value))
    if isinstance(value, Mapping):
        return [leaf for v in value.values() for leaf in leaves(v)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [leaf for v in value for leaf in leaves(v)]
    return [value]


def test_the_state_holds_no_pixels(lesion_slide) -> None:
    case = Case(slides=(SlideInput(id="S1", path=str(lesion_slide)),))
    given = {"given_vlm": LookingModel(), "given_encoder": ColourEncoder()}
    with Resources(case=case, profile=load_profile(PROFILE), **given) as resources:
        graph = build_graph(resources, InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        graph.invoke({"case": case}, config)
        history = list(graph.get_state_history(config))
    assert len(history) > 8
    for snapshot in history:
        found = {type(leaf) for leaf in leaves(snapshot.values)}
        assert found <= {str, int, float, bool, type(None)}, found
    assert not any(isinstance(leaf, np.ndarray) for leaf in leaves(history[0].values))
