"""Navigation: where to look next.

Code makes the candidates and guarantees a quota of the best of them; the model chooses the rest by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from pathagent.agents import candidates as places
from pathagent.agents import simpler
from pathagent.agents.coverage import place_of
from pathagent.agents.magnification import closer_looks
from pathagent.agents.mitoses import hot_spot
from pathagent.resources import Resources
from pathagent.state import DEFAULT_GOAL, Look, ModelCall, Reading, State, evidence_list, spent
from pathagent_tools.core.geometry import Region, TileSpec
from pathagent_tools.core.records import Candidate, Evidence, Sufficiency
from pathagent_tools.vlm import roles

SHOWN: Final = 2
"""Looks at a slide that is not to be read as H&E: enough to show why."""
NOTHING_LEFT: Final = "no place on the tissue is left to look at"
ChosenBy = Literal["quota", "model", "fill"]
Chosen = tuple[Candidate, str, ChosenBy]
"""(candidate, reason, who chose it)."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """A candidate before it has its id."""

    pool: places.Pool
    index: int
    score: float
    novelty: float
    new_piece: bool
    """Whether it lies in a piece of tissue without a look."""

    @property
    def region(self) -> Region:
        return self.pool.regions[self.index]


def navigation(resources: Resources, state: State) -> dict[str, Any]:
    """Plan the looks of the next round; an empty plan where nothing is left or the budget is spent."""
    budget, looked, number = state["case"].budget, evidence_list(state), state.get("round", 0) + 1
    count = spent(state).affordable_looks(budget)
    slides = _slides(state)
    if not count or not slides:
        reason = spent(state).exhausted(budget) or "there is nothing to look at"
        return {"plan": [], "stop": reason}
    if state["reading"] == "show":
        return {"plan": _show(resources, slides[0], min(count, SHOWN)), "candidates": [], "round": number}
    case = state["case"]
    if case.navigation not in simpler.BY_THE_AGENT:
        simpler.check_navigation(case)
        found = simpler.next_regions(resources, case, slides, [e.region for e in looked], count)
        plan = [_look(resources, state, i, *place, "quota") for i, place in enumerate(found)]
        stop = {} if plan else {"stop": NOTHING_LEFT}
        return {"plan": plan, "candidates": [], "round": number, **stop}
    if case.navigation == "no-memory":
        state, looked = _forgetful(state), []
    return _by_agent(resources, state, slides, looked, number=number, count=count)


def _by_agent(
    resources: Resources,
    state: State,
    slides: Sequence[str],
    looked: Sequence[Evidence],
    *,
    number: int,
    count: int,
) -> dict[str, Any]:
    """Closer looks, and where mitoses are densest once a lesion is known; then the quota, the model's choice
    and the rest."""
    goal, known = goal_of(state), state["reading"] == "read"
    searching = _searching(looked)
    first = _closer(resources, state, slides, looked, -(-count // 2) if searching else count)
    hot = _hot_spots(resources, state, slides, looked)[: count - len(first)] if number > 1 else []
    plan = [_look(resources, state, i, *place, "quota") for i, place in enumerate([*first, *hot])]
    count -= len(plan)
    share = quota_size(count, searching=searching) if known else count
    offers = _offers(resources, slides, looked, goal=goal, first=number == 1, known=known, quota=share)
    offers = [o for o in offers if all(o.region.overlap(r) <= places.MAX_OVERLAP for r, _ in hot)]
    if not count or not offers:
        stop = {} if plan else {"stop": NOTHING_LEFT}
        return {"plan": plan, "candidates": [], "round": number, **stop}
    offered = [places.candidate(o.pool, o.index, o.novelty, i + 1) for i, o in enumerate(_in_order(offers))]
    chosen, call = _choose(
        resources,
        state,
        offers,
        offered,
        goal=goal,
        count=count,
        number=number,
        quota=share,
        searching=searching or number == 1,
    )
    plan += [
        _look(resources, state, len(first) + len(hot) + i, c.region, reason, by)
        for i, (c, reason, by) in enumerate(chosen)
    ]
    return {"plan": plan, "candidates": offered, "round": number, "calls": [call] if call else []}


def _closer(
    resources: Resources, state: State, slides: Sequence[str], looked: Sequence[Evidence], count: int
) -> list[tuple[Region, str]]:
    """Parts of looks to be seen at a finer scale; none before a model has described a look."""
    if state["reading"] != "read":
        return []
    return closer_looks(resources, [e for e in looked if e.region.slide in slides], count)


def _hot_spots(
    resources: Resources, state: State, slides: Sequence[str], looked: Sequence[Evidence]
) -> list[tuple[Region, str]]:
    """Where mitoses are densest, a place a slide: for a report, or a question that is about them."""
    about_them = state["case"].task == "report" or state.get("subject") == "mitoses"
    if state["reading"] != "read" or not about_them:
        return []
    found = (hot_spot(resources, slide, looked) for slide in slides)
    return [place for place in found if place]


def _look(resources: Resources, state: State, number: int, region: Region, reason: str, by: ChosenBy) -> Look:
    """Look `number` (from 0) of a round."""
    return Look(
        id=f"E{len(state.get('evidence', {})) + number + 1}",
        region=region,
        place=place_of(resources.slide(region.slide).tissue, region),
        reason=reason,
        chosen_by=by,
        reading=state["reading"],
    )


def _forgetful(state: State) -> State:
    """The state without what earlier rounds have found."""
    return {**state, "sufficiency": None, "subject": ""}


def goal_of(state: State) -> str:
    """What the next round looks for: the missing evidence, else what is asked about, else the report."""
    sufficiency: Sufficiency | None = state.get("sufficiency")
    if sufficiency and not sufficiency.sufficient and sufficiency.missing.strip():
        return sufficiency.missing.strip()
    if subject := state.get("subject", ""):
        return f"fields that show {subject}"
    question = state["case"].question
    return question if question and not state.get("refusal") else DEFAULT_GOAL


def _slides(state: State) -> list[str]:
    """Slides that may be looked at in this case's way of reading, in their order.

    Slides that the model reads are those that triage let through, whatever the belief of a round was;
    else they are the slides that share the case's outcome.
    """
    if state["reading"] == "none":
        return []
    wanted = "report" if state["reading"] == "read" else state["outcome"]
    return [r.id for r in state["slides"].values() if r.outcome == wanted]


def _offers(
    resources: Resources,
    slides: Sequence[str],
    looked: Sequence[Evidence],
    *,
    goal: str,
    first: bool,
    known: bool,
    quota: int,
) -> list[_Offer]:
    """At most 12 offers, best first. The first round takes turns among slides, so none is left out.

    While no look has shown a lesion and the goal names no tissue, the first `quota` of each slide are the
    most suspicious places. Later rounds also like what resembles the lesion, unless the goal names a tissue
    that the scan has seen.
    """
    weights = places.FIRST_ROUND if first else places.LATER_ROUNDS
    words = None if first or goal == DEFAULT_GOAL else goal
    per_slide: list[list[_Offer]] = []
    for slide_id in slides:
        named = known and resources.encoder_knows(slide_id)
        pool = places.make_pool(
            resources.slide(slide_id),
            tile_px=resources.vlm.tile_px,
            tile_mpp=resources.vlm.tile_mpp,
            goal=words if named else None,
            known=named,
            close=True,
        )
        mine = [e for e in looked if e.region.slide == slide_id]
        about_tissue = named and _names_tissue(goal, pool.hints)
        if not first and not about_tissue:
            liked = np.maximum(pool.relevance, places.near_lesion(pool, mine))
            pool = replace(pool, relevance=liked)
        search = quota if _searching(looked) and (first or not about_tissue) else 0
        ranked = places.rank(pool, [e.region for e in mine], weights, places.MAX_CANDIDATES, search=search)
        seen = {int(pool.pieces[places.nearest(pool, e.region)]) for e in mine} | {-1} if ranked else set()
        per_slide.append([_Offer(pool, *pick, int(pool.pieces[pick[0]]) not in seen) for pick in ranked])
    if first:
        turns = [offers[i] for i in range(places.MAX_CANDIDATES) for offers in per_slide if i < len(offers)]
        return turns[: places.MAX_CANDIDATES]
    flat = [offer for offers in per_slide for offer in offers]
    return sorted(flat, key=lambda o: -o.score)[: places.MAX_CANDIDATES]


def _searching(looked: Sequence[Evidence]) -> bool:
    """Whether no look has shown a lesion yet."""
    return not any(e.findings and e.findings.tissue in places.LESION for e in looked)


def quota_size(count: int, *, searching: bool) -> int:
    """How many looks of a round are code's: five of six in a search, else half, rounded up."""
    return -(-5 * count // 6) if searching else -(-count // 2)


def _names_tissue(goal: str, hints: Sequence[str]) -> bool:
    """Whether the goal names one of the scan's classes (`abnormal glands` does not name `normal glands`)."""
    return any(f" {hint} " in f" {goal} " for hint in hints)


def _in_order(offers: Sequence[_Offer]) -> list[_Offer]:
    """By place on the slide, so that an id says nothing about the rank."""
    return sorted(offers, key=lambda o: (o.region.slide, o.region.y, o.region.x))


def _choose(
    resources: Resources,
    state: State,
    offers: Sequence[_Offer],
    offered: Sequence[Candidate],
    *,
    goal: str,
    count: int,
    number: int,
    quota: int,
    searching: bool,
) -> tuple[list[Chosen], ModelCall | None]:
    """The quota first, then the model's choice among the rest, then the best of what is left."""
    by_region = {(c.region.slide, c.region.x, c.region.y): c for c in offered}
    best = [by_region[o.region.slide, o.region.x, o.region.y] for o in offers]
    asks = state["reading"] == "read"
    new = [c for c, o in zip(best, offers, strict=True) if o.new_piece]
    kept = _quota(best, new, first=searching, size=quota)
    chosen: list[Chosen] = [(c, "among the best by the scan", "quota") for c in kept]
    rest = [c for c in offered if c not in kept]
    wanted, call = min(count - len(chosen), len(rest)), None
    if asks and 0 < wanted < len(rest):
        call = resources.ask(
            f"navigate round {number}", roles.navigate(goal, {c.id: c.line() for c in rest}, wanted)
        )
        chosen += _by_model(call, rest)[:wanted]
    taken = {c.id for c, _, _ in chosen}
    left = [c for c in best if c.id not in taken]
    chosen += [(c, "next best by the scan", "fill") for c in left[: max(0, count - len(chosen))]]
    return chosen[:count], call


def _quota(best: Sequence[Candidate], new: Sequence[Candidate], *, first: bool, size: int) -> list[Candidate]:
    """The best by acquisition; after the first round one of them explores instead.

    It is the oddest and newest, in a piece of tissue without a look (`new`) where there is one.
    """
    if first or size < 2 or len(best) <= size:
        return list(best[:size])
    kept = list(best[: size - 1])
    weigh = places.EXPLORE
    others = [c for c in new if c not in kept] or [c for c in best if c not in kept]
    return [*kept, max(others, key=lambda c: weigh.anomaly * c.anomaly + weigh.novelty * c.novelty)]


def _by_model(call: ModelCall, rest: Sequence[Candidate]) -> list[Chosen]:
    """The candidates that the model named, once each; ids that were not offered are ignored."""
    by_id = {c.id: c for c in rest}
    data = call.data or {}
    named = dict.fromkeys(str(i) for i in data.get("choose", []))
    reason = str(data.get("reason", "")).strip() or "chosen by the model"
    return [(by_id[i], reason, "model") for i in named if i in by_id]


def _show(resources: Resources, slide_id: str, count: int) -> list[Look]:
    """A few fields spread over the tissue, to show what stood against reading the slide."""
    from pathagent_tools.slides import tile_grid

    opened = resources.slide(slide_id)
    mpp = max(resources.vlm.tile_mpp, opened.slide.mpp)
    spec = TileSpec(tile_px=resources.vlm.tile_px, mpp=mpp)
    grid: list[Region] = []
    for least in (places.MIN_TISSUE, places.SOME_TISSUE):
        grid = grid or tile_grid(opened.slide, opened.tissue, spec, min_tissue=least)
    picks = sorted({round((i + 1) * (len(grid) - 1) / (count + 1)) for i in range(count)}) if grid else []
    reading: Reading = "show"
    return [
        Look(
            id=f"E{i + 1}",
            region=grid[pick],
            place=place_of(opened.tissue, grid[pick]),
            reason="shows what stood against reading the slide",
            chosen_by="quota",
            reading=reading,
        )
        for i, pick in enumerate(picks)
    ]
