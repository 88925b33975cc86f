"""One slide looked at in every way: the looks, in their order.

The agent goes through the graph as it ships, until looking has ended. Ways that no model takes part in plan
their looks with the same node and describe nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from pathagent.agents.navigation import navigation
from pathagent.agents.simpler import BY_THE_AGENT
from pathagent.agents.triage import admit, judge
from pathagent.budget import Budget
from pathagent.resources import Resources
from pathagent.state import Case, Navigation, SlideInput, State, evidence_list
from pathagent_eval.navigation.slides import SlideTruth
from pathagent_tools.core.geometry import Frozen, Region
from pathagent_tools.core.records import Evidence, MadeBy

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import SlideEncoder, VisionLanguageModel

QUESTION: Final = "Is there tumour or dysplasia?"
"""Put to every way of looking, so that looking by the question alone has one."""
ORACLE: Final = "oracle"
WAYS: Final = ("agent", "random", "grid", "saliency", "question", "no-memory", ORACLE)


class Walk(Frozen):
    """The looks of one way at one slide, what the agent saw there, and why it stopped."""

    looks: tuple[Region, ...]
    seen: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    stop: str = ""


def walks(
    slide: Path,
    truth: SlideTruth,
    ways: Sequence[str],
    *,
    looks: int,
    vlm: VisionLanguageModel,
    encoder: SlideEncoder,
    store: Path,
) -> dict[str, Walk]:
    """Way → its looks at `slide`. The truth is used for the oracle's places and for nothing else."""
    from pathagent_tools.vlm.profile import load_profile

    with TemporaryDirectory(prefix="navigation-") as alone:
        copy = Path(alone) / "case.tiff"
        shutil.copyfile(slide, copy)
        base = Case(
            slides=(SlideInput(id="S1", path=str(copy)),), question=QUESTION, budget=Budget(looks=looks)
        )
        resources = Resources(
            case=base,
            profile=load_profile("embedded"),
            given_vlm=vlm,
            given_encoder=encoder,
            store=store,
        )
        with resources:
            records = {"S1": judge(resources, resources.slide("S1"))}
            found = {}
            for way in ways:
                case = _case(base, way, truth, resources)
                start = {"case": case, **admit(case, records)}
                resources.case = case
                by_model = case.navigation in BY_THE_AGENT
                found[way] = (_through_the_graph if by_model else _planned_only)(resources, start)
            return found


def _case(base: Case, way: str, truth: SlideTruth, resources: Resources) -> Case:
    if way != ORACLE:
        return base.model_copy(update={"navigation": way})
    given: Navigation = "given"
    return base.model_copy(update={"navigation": given, "places": oracle_places(truth, resources)})


def oracle_places(truth: SlideTruth, resources: Resources) -> tuple[Region, ...]:
    """One look at the middle of the largest part of the lesion."""
    from shapely.geometry import Polygon

    from pathagent.agents.candidates import look_at

    largest = max((Polygon(ring).buffer(0) for ring in truth.lesion), key=lambda p: float(p.area))
    middle = largest.representative_point()
    vlm = resources.vlm
    return (look_at(resources.slide("S1"), middle.x, middle.y, vlm.tile_px, vlm.tile_mpp),)


def _through_the_graph(resources: Resources, start: dict[str, Any]) -> Walk:
    """The graph from after triage until looking has ended, all looks described."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    from pathagent.graph import build_graph
    from pathagent.runs import allowed_types

    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=allowed_types()))
    graph = build_graph(resources, saver)
    config: Any = {"configurable": {"thread_id": "walk"}, "recursion_limit": 100}
    graph.update_state(config, start, as_node="triage")
    for _ in graph.stream(None, config, interrupt_before=["measure"]):
        pass
    state: State = graph.get_state(config).values  # type: ignore[assignment]
    evidence = evidence_list(state)
    return Walk(
        looks=tuple(e.region for e in evidence),
        seen=tuple(e.findings.line() if e.findings else "" for e in evidence),
        reasons=tuple(e.reason for e in evidence),
        stop=state.get("stop", ""),
    )


def _planned_only(resources: Resources, start: dict[str, Any]) -> Walk:
    """Rounds of planning alone: what is not described cannot change the plan of these ways."""
    state: State = start  # type: ignore[assignment]
    evidence: dict[str, Evidence] = {}
    while True:
        update = navigation(resources, {**state, "evidence": evidence})
        if not update["plan"]:
            return Walk(
                looks=tuple(e.region for e in evidence.values()),
                reasons=tuple(e.reason for e in evidence.values()),
                stop=update["stop"],
            )
        state = {**state, "round": update["round"]}
        evidence |= {look.id: _unseen(look) for look in update["plan"]}


def _unseen(look: Any) -> Evidence:
    """A look that nobody described."""
    return Evidence(
        id=look.id,
        region=look.region,
        place=look.place,
        pixels_sha256="",
        findings=None,
        reason=look.reason,
        made_by=MadeBy(tool="read"),
    )
