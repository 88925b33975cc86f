"""Diagnosis: what the evidence adds up to, and whether it is enough.

Two separate questions to the model: the differential, then a judgement of the evidence. Looking ends
when the evidence is judged sufficient and the leading hypothesis has held for two rounds, or when the
budget or the tissue is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pathagent.agents.asking import slides_text
from pathagent.events import Believed
from pathagent.resources import Resources
from pathagent.rules.agreement import open_grade
from pathagent.state import DEFAULT_GOAL, Belief, ModelCall, State, asked_about, spent
from pathagent_tools.core.records import Hypothesis, Sufficiency
from pathagent_tools.core.vocabulary import Outcome
from pathagent_tools.vlm import roles

ABSTAIN_BELOW: Final = 0.5
"""A leading hypothesis below this probability is not drafted as a diagnosis."""
ABSTAIN_BELOW_UNLESS_SUFFICIENT: Final = 0.65
"""Nor one below this where the evidence was judged insufficient when looking ended."""


def diagnosis(resources: Resources, state: State) -> dict[str, Any]:
    """Update the belief after a round and decide whether to look on (`stop` empty) or to write."""
    if state["reading"] != "read":
        return {"stop": "no model may look at this material"}
    case, looked = state["case"], asked_about(state)
    ledger, number = roles.ledger_text(looked), state["round"]
    asked = resources.ask(
        f"diagnose round {number}", roles.diagnose(slides_text(state), ledger, notes=case.notes)
    )
    differential = differential_of(asked)
    if open_grade(looked):
        differential = without_grade(differential)
    question = case.question if case.question and not state.get("refusal") else DEFAULT_GOAL
    judged = resources.ask(
        f"judge round {number}", roles.judge(question, roles.differential_text(differential[:1]), ledger)
    )
    sufficiency = sufficiency_of(judged)
    belief = Belief(
        round=number,
        leading=differential[0].text if differential else "",
        probability=differential[0].probability if differential else 0.0,
        sufficient=sufficiency.sufficient,
        looks=len(state.get("evidence", {})),
    )
    resources.events.emit(Believed(**belief.model_dump(exclude={"looks"}), missing=sufficiency.missing))
    calls, subject = [asked, judged], state.get("subject", "")
    if question != DEFAULT_GOAL and not subject:
        subject = str((judged.data or {}).get("about", "")).strip()
    spent_by_now = spent(state).model_copy(
        update={"seconds": resources.seconds, "tokens": spent(state).tokens + sum(c.tokens for c in calls)}
    )
    stop = _settled(state.get("beliefs", []), belief) or spent_by_now.exhausted(case.budget)
    outcome, text = conclude(differential, sufficiency)
    return {
        "differential": differential,
        "sufficiency": sufficiency,
        "beliefs": [belief],
        "calls": calls,
        "subject": subject,
        "stop": stop,
        "outcome": outcome,
        "outcome_text": text,
    }


def differential_of(call: ModelCall) -> list[Hypothesis]:
    """The model's hypotheses, likeliest first: duplicates summed, percents above 100 in all scaled down."""
    percents: dict[tuple[str, str], float] = {}
    for item in (call.data or {}).get("differential", []):
        name, grade = str(item.get("diagnosis", "")).strip(), str(item.get("grade", "")).strip() or "none"
        if name:
            percents[name, grade] = percents.get((name, grade), 0.0) + float(item.get("percent", 0))
    scale = max(100.0, sum(percents.values()))
    found = [
        Hypothesis(diagnosis=name, grade=grade, probability=round(value / scale, 4))
        for (name, grade), value in percents.items()
    ]
    return sorted(found, key=lambda h: -h.probability)


def without_grade(differential: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Every carcinoma once, its grade left open; dysplasia keeps its own."""
    open_: dict[tuple[str, str], float] = {}
    for h in differential:
        key = (h.diagnosis, "none" if h.grade.startswith("grade ") else h.grade)
        open_[key] = round(open_.get(key, 0.0) + h.probability, 4)
    found = [Hypothesis(diagnosis=d, grade=g, probability=min(p, 1.0)) for (d, g), p in open_.items()]
    return sorted(found, key=lambda h: -h.probability)


def sufficiency_of(call: ModelCall) -> Sufficiency:
    """The model's judgement; an unusable answer counts as not sufficient."""
    data = call.data or {}
    sufficient = data.get("sufficient") is True
    return Sufficiency(
        sufficient=sufficient, missing="" if sufficient else str(data.get("missing", "")).strip()
    )


def _settled(earlier: list[Belief], now: Belief) -> str:
    if now.sufficient and earlier and earlier[-1].leading == now.leading:
        return "the evidence was judged sufficient and the leading hypothesis held for two rounds"
    return ""


def conclude(differential: list[Hypothesis], sufficiency: Sufficiency) -> tuple[Outcome, str]:
    """Whether the belief carries a diagnosis, and the sentence that says so."""
    if not differential:
        return "insufficient evidence", "No diagnosis is drafted: the model gave no usable differential."
    leading = differential[0]
    percent = f"{round(100 * leading.probability)} %"
    if leading.probability < ABSTAIN_BELOW:
        return (
            "insufficient evidence",
            f"No diagnosis is drafted: the likeliest, {leading.text}, reaches only {percent}.",
        )
    if not sufficiency.sufficient and leading.probability < ABSTAIN_BELOW_UNLESS_SUFFICIENT:
        missing = f" Missing: {sufficiency.missing}." if sufficiency.missing else ""
        return (
            "insufficient evidence",
            f"No diagnosis is drafted: {leading.text} reaches {percent} and the evidence was judged "
            f"insufficient.{missing}",
        )
    return "report", f"Draft diagnosis: {leading.text} ({percent})."
