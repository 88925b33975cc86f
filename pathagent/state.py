"""What the graph remembers: ids, regions and small records. Never pixels, tensors or open files.

`InputState` is what a caller gives; `State` is what the nodes add to it. Each field says who writes
it and how two writes merge: a field without a reducer is replaced by its one writer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import add
from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field

from pathagent.budget import Budget, Spent
from pathagent_tools.core.compare import Compared
from pathagent_tools.core.geometry import Frozen, Region
from pathagent_tools.core.records import (
    Candidate,
    Claim,
    Coverage,
    Evidence,
    Hypothesis,
    Measurement,
    Report,
    Review,
    SlideRecord,
    Sufficiency,
)
from pathagent_tools.core.synthetic import SyntheticImage
from pathagent_tools.core.vocabulary import Outcome

DEFAULT_GOAL = "Draft a report."

Reading = Literal["read", "measure", "show", "none"]
"""What the looks of this case may be: read by the model; measured only (tissue that the model does not
know); shown only (pixels that are not to be read as H&E); or none at all."""


Navigation = Literal["agent", "random", "grid", "saliency", "question", "no-memory", "given"]
"""How the places of looks are chosen: by the agent, or in one of the simpler ways that it is measured
against (`agents.simpler`). `given`: at the places of the case, in their order."""


class SlideInput(Frozen):
    """One slide of the case as the user gave it. `id` is S1, S2, … in that order."""

    id: str
    path: str
    digest: str = Field(default="", description="sha256 of the file; part of the run's identity")


class CompareWith(Frozen):
    """What the user gave to compare the draft with. The digests are part of the run's identity."""

    knowledge: str = Field(default="", description="folder of texts")
    knowledge_digest: str = ""
    index: str = Field(default="", description="folder of a case index")
    index_digest: str = ""


class Case(Frozen):
    """Everything that a run is asked to do. The same case, models and prompts give the same report."""

    slides: tuple[SlideInput, ...]
    task: Literal["report", "ask"] = "report"
    question: str | None = None
    options: tuple[str, ...] = ()
    notes: str | None = None
    specimen: str | None = None
    mpp: float | None = None
    mpp_csv: str | None = None
    budget: Budget = Budget()
    seed: int = 0
    review: Literal["none", "required"] = "none"
    region: Region | None = Field(
        default=None, description="that the question is about: what is seen elsewhere does not answer it"
    )
    navigation: Navigation = "agent"
    places: tuple[Region, ...] = Field(default=(), description="where to look, if navigation is 'given'")
    illustrate: bool = False
    compare: CompareWith = CompareWith()


class Look(Frozen):
    """A place that navigation has decided to look at, with the id that its evidence will have."""

    id: str
    region: Region
    place: str
    reason: str
    chosen_by: Literal["quota", "model", "fill"]
    reading: Reading


class Belief(Frozen):
    """The leading hypothesis after a round, and whether it was judged sufficient."""

    round: int
    leading: str
    probability: float
    sufficient: bool
    looks: int


class ModelCall(Frozen):
    """One question to the model as it was answered. `key` names it within the run: `describe E3`."""

    key: str
    role: str
    prompt_sha256: str
    system: str = Field(default="", description="the prompt as the model read it")
    user: str = ""
    text: str = Field(description="the raw completion")
    data: dict[str, Any] | None = Field(description="the parsed answer; None where it could not be used")
    error: str | None = None
    images: int = 0
    tokens: int = 0
    seconds: float = 0.0
    confidence: float | None = None
    model: str = ""
    revision: str = ""
    adapter: str | None = None


class Timing(Frozen):
    """How long a node ran."""

    node: str
    key: str
    seconds: float


class SlideMeasures(Frozen):
    """What code measured on one slide, and the share of its tissue that the scan encoded."""

    measurements: tuple[Measurement, ...] = ()
    scanned_percent: float = 0.0


def merge_by_id(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Reducer: records by id; a record that is written again replaces itself."""
    return {**(old or {}), **new}


def later(old: float, new: float) -> float:
    """Reducer: the run's clock never goes back."""
    return max(old, new)


class InputState(TypedDict):
    """The public input of the graph."""

    case: Case
    """Caller."""


class State(InputState, total=False):
    """The internal state."""

    slides: dict[str, SlideRecord]
    """triage; slide id → what is known of it."""
    measures: dict[str, SlideMeasures]
    """triage; by slide id."""
    reading: Reading
    """triage."""
    refusal: str
    """triage: why the question cannot be answered from H&E, by rule; empty where it can."""
    candidates: list[Candidate]
    """navigation: what it last chose from."""
    plan: list[Look]
    """navigation: the looks of this round."""
    round: int
    """navigation: rounds planned so far."""
    evidence: Annotated[dict[str, Evidence], merge_by_id]
    """description, fanned out: one record a look, merged by id."""
    differential: list[Hypothesis]
    """diagnosis."""
    sufficiency: Sufficiency | None
    """diagnosis."""
    subject: str
    """diagnosis: what the question asks about, in the model's words; what later rounds look for."""
    beliefs: Annotated[list[Belief], add]
    """diagnosis: one a round, appended."""
    stop: str
    """navigation or diagnosis: why looking ended; empty while it goes on."""
    outcome: Outcome
    """triage, diagnosis, verify: what the run ends in, by what is known so far."""
    outcome_text: str
    """As `outcome`: the same in one sentence."""
    claims: list[Claim]
    """write, then verify with verdicts, then review with edits."""
    answer: str | None
    """write."""
    illustrations: list[SyntheticImage]
    """illustrate: records of marked files; no agent reads them, no claim may cite them."""
    withheld: list[str]
    """illustrate: what was drawn and not shown, and why, in words."""
    compared: Compared
    """compare: passages and cases of the user's; no agent reads them, no claim may cite them."""
    review: Review | None
    """review: what the human decided."""
    drafted: list[Claim]
    """review: the claims as the human found them."""
    decision_id: str
    """review: random, one a decision."""
    report: Report
    """finish."""
    coverage: list[Coverage]
    """finish."""
    calls: Annotated[list[ModelCall], add]
    """every node that asks the model; appended."""
    seconds: Annotated[float, later]
    """every node: wall-clock time of the run so far."""
    timings: Annotated[list[Timing], add]
    """every node; appended."""


class LookOrder(TypedDict):
    """What one branch of the description fan-out gets: its own looks, nothing else of the state."""

    looks: tuple[Look, ...]


def evidence_list(state: State) -> list[Evidence]:
    """The ledger in order of ids."""
    return sorted(state.get("evidence", {}).values(), key=lambda e: int(e.id[1:]))


def asked_about(state: State) -> list[Evidence]:
    """The part of the ledger that answers: all of it, or the looks at the region that the case is about."""
    region = state["case"].region
    return [e for e in evidence_list(state) if region is None or region.meets(e.region)]


def spent(state: State) -> Spent:
    """What the run has spent by now."""
    calls: Sequence[ModelCall] = state.get("calls", [])
    return Spent(
        looks=len(state.get("evidence", {})),
        tokens=sum(call.tokens for call in calls),
        seconds=state.get("seconds", 0.0),
    )
