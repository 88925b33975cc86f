"""The graph: how a case moves from slides to a report. Nodes and routing, nothing else.

triage ─▶ navigation ─▶ description × n ─▶ diagnosis ─▶ measure ─▶ write ─▶ verify ─▶ illustrate
   │          ▲  │                             │           ▲                            │
   │          └──┼──── missing evidence ◀──────┘           │                         compare
   └─────────────┴──── nothing to look at ─────────────────┘                            │
                                                                          finish ◀── review

Slides are measured after the looking: a reader waits for the first look, and none of it needs a number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, Literal, Protocol, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Send

from pathagent.agents.comparison import compare
from pathagent.agents.description import description
from pathagent.agents.diagnosis import diagnosis
from pathagent.agents.finish import finish
from pathagent.agents.illustration import illustrate
from pathagent.agents.navigation import navigation
from pathagent.agents.review import review
from pathagent.agents.triage import measurement, triage
from pathagent.agents.verification import verify
from pathagent.agents.writing import write
from pathagent.events import NodeFinished, NodeStarted
from pathagent.resources import Resources
from pathagent.state import InputState, Look, LookOrder, State, Timing

LOOKS_TOGETHER: Final = 3
"""Looks that one branch of the fan-out describes in one batch of the model, which costs less than asking
one by one. Fixed by the plan, because what shares a batch shares its rounding."""

Given = TypeVar("Given", State, LookOrder)
Given_contra = TypeVar("Given_contra", State, LookOrder, contravariant=True)
Graph = CompiledStateGraph[State, None, InputState, State]


class Node(Protocol[Given_contra]):
    """What LangGraph calls: the state, or one look's order, in; an update of the state out."""

    def __call__(self, state: Given_contra) -> dict[str, Any]: ...


def build_graph(resources: Resources, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
    """Compile the graph around the models and slides of one run. A checkpointer is not optional."""
    builder = StateGraph(State, input_schema=InputState)
    for name, agent in {
        "triage": triage,
        "navigation": navigation,
        "diagnosis": diagnosis,
        "measure": measurement,
        "write": write,
        "verify": verify,
        "illustrate": illustrate,
        "compare": compare,
        "review": review,
        "finish": finish,
    }.items():
        builder.add_node(name, _node(name, agent, resources))
    builder.add_node("description", _node("description", description, resources), input_schema=LookOrder)

    builder.add_edge(START, "triage")
    builder.add_conditional_edges("triage", after_triage)
    builder.add_conditional_edges("navigation", after_navigation, ["description", "measure"])
    builder.add_edge("description", "diagnosis")
    builder.add_conditional_edges("diagnosis", after_diagnosis)
    builder.add_edge("measure", "write")
    builder.add_edge("write", "verify")
    builder.add_edge("verify", "illustrate")
    builder.add_edge("illustrate", "compare")
    builder.add_edge("compare", "review")
    builder.add_edge("review", "finish")
    builder.add_edge("finish", END)
    return builder.compile(checkpointer=checkpointer, name="pathagent")


def after_triage(state: State) -> Literal["navigation", "measure"]:
    """Look, unless no slide may be looked at or the question is not one for H&E."""
    return "measure" if state["reading"] == "none" else "navigation"


def after_navigation(state: State) -> list[Send] | Literal["measure"]:
    """One branch for every few looks; on to the end where nothing is planned.

    The very first look goes alone: who waits sees it while the others are still being read.
    """
    plan = tuple(state["plan"])
    first = 0 if state.get("evidence") else 1
    cuts = sorted({0, *range(first, len(plan), LOOKS_TOGETHER), len(plan)})
    return [Send("description", LookOrder(looks=plan[i:j])) for i, j in pairwise(cuts)] or "measure"


def after_diagnosis(state: State) -> Literal["navigation", "measure"]:
    """Look on while the evidence is not enough and the budget lasts."""
    return "measure" if state.get("stop") else "navigation"


def _node(
    name: str, agent: Callable[[Resources, Given], dict[str, Any]], resources: Resources
) -> Node[Given]:
    """An agent as a node: its start, end and duration are logged, its result is timed."""

    def run(state: Given) -> dict[str, Any]:
        info = get_runtime().execution_info
        task = info.task_id if info else ""
        looks: tuple[Look, ...] = state.get("looks", ())  # type: ignore[assignment]
        key = " ".join(look.id for look in looks) or f"round {state.get('round', 0)}"
        resources.events.emit(NodeStarted(node=name, key=key, task=task))
        started = time.monotonic()
        update = agent(resources, state)
        seconds = round(time.monotonic() - started, 4)
        resources.events.emit(NodeFinished(node=name, key=key, task=task, seconds=seconds))
        timing = Timing(node=name, key=key, seconds=seconds)
        return {**update, "timings": [timing], "seconds": resources.seconds}

    run.__name__ = name
    return run
