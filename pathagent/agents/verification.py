"""Verification: each model claim against each look that it cites, in a context that holds nothing else.

A claim keeps the looks that show it. Where none of those that it cites does, its neighbours in the ledger
are asked, as a model that slips by a line still means what it says. Of a list of tissues each item needs a
look of its own: one that is told of elsewhere in the ledger is asked for, and what no look shows is left out
of the sentence. No sentence rests on a look under an artifact, or on one that model and encoder see
differently. Then the rules, which no model can overrule: what H&E cannot show is not assessable, and a
claim whose evidence does not resolve is unsupported. A diagnosis that no look shows, a benign one beside a
sound look at tumour, or one that a count of lymphocytes speaks against, is withheld.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pathagent.agents.inflammation import counted_against, is_count
from pathagent.resources import Resources
from pathagent.rules.agreement import doubt, of_artifacts, verdict_of
from pathagent.rules.benign import shown_against
from pathagent.rules.tissue_lists import listed, named, only
from pathagent.state import ModelCall, State, asked_about
from pathagent_tools.core.records import Claim, Evidence
from pathagent_tools.vlm import roles

NEIGHBOURS: Final = 6
"""Looks that are asked for a claim that none of its own looks shows."""


@dataclass(frozen=True, slots=True)
class _Check:
    """A claim beside one look, and what the model said of the two."""

    look: Evidence
    call: ModelCall

    @property
    def verdict(self) -> str:
        """The verdict on the claim by this look, held to what the model named."""
        return verdict_of(self.call.data)

    @property
    def seen(self) -> str:
        """What the model says that the look shows."""
        return str((self.call.data or {}).get("seen", "")).strip().casefold()

    @property
    def words(self) -> str:
        """`E3 shows single files`."""
        return f"{self.look.id} shows {self.seen or 'nothing of it'}"


def verify(resources: Resources, state: State) -> dict[str, Any]:
    """Verdicts for the model's claims, then the rules; a diagnosis that no look shows ends in abstention."""
    from pathagent.rules import legality

    evidence = state.get("evidence", {})
    claims = state.get("claims", [])
    cited = {c.id: _cited(c, evidence) for c in claims if _open(c)}
    asked = {c.id: _sound(c, cited.get(c.id, [])) for c in claims}
    checks = _check(resources, state, claims, asked)
    around = {
        c.id: _elsewhere(c, checks[c.id], _sound(c, _neighbours(c, cited[c.id], asked_about(state))))
        for c in claims
        if cited.get(c.id)
    }
    lost = [c for c in claims if around.get(c.id)]
    second = _check(resources, state, lost, around)
    judged = [_judged(c, cited.get(c.id, []), checks[c.id], second.get(c.id, [])) for c in claims]
    claims = legality.apply(judged, evidence=evidence, slides=tuple(state["slides"].values()))
    calls = [check.call for found in (checks, second) for part in found.values() for check in part]
    update: dict[str, Any] = {"claims": claims, "calls": calls}
    diagnosis = next((c for c in claims if c.section == "diagnosis"), None)
    if diagnosis is None:
        return update
    against = ""
    if diagnosis.verdict in ("contradicted", "unsupported"):
        against = "the check found no cited look that shows it"
        if not checks[diagnosis.id] and cited.get(diagnosis.id):
            against = str(diagnosis.reason)
    elif shown := _shown_against(state):
        against = shown
        update["claims"] = [_contradicted(c, shown) if c is diagnosis else c for c in claims]
    elif counted := _counted_against(resources, state):
        against = counted
        update["claims"] = [
            _contradicted(c, counted) if c is diagnosis else c for c in claims if not is_count(c)
        ]
    if against:
        update["outcome"] = "insufficient evidence"
        update["outcome_text"] = (
            f"No diagnosis is drafted: {diagnosis.text.rstrip('.')} was proposed, and {against}."
        )
    return update


def _contradicted(claim: Claim, why: str) -> Claim:
    return claim.model_copy(update={"verdict": "contradicted", "reason": why})


def _shown_against(state: State) -> str:
    leading = next(iter(state.get("differential", [])), None)
    return shown_against(asked_about(state), leading.diagnosis) if leading else ""


def _counted_against(resources: Resources, state: State) -> str:
    leading = next(iter(state.get("differential", [])), None)
    read = [r.id for r in state["slides"].values() if r.outcome == "report"]
    return counted_against(resources, read, leading.diagnosis) if leading else ""


def _open(claim: Claim) -> bool:
    """Whether the claim awaits a verdict: code's claims and settled ones do not."""
    return claim.written_by == "model" and claim.verdict == "unsupported"


def _cited(claim: Claim, evidence: Mapping[str, Evidence]) -> list[Evidence]:
    return [evidence[i] for i in claim.evidence if i in evidence]


def _sound(claim: Claim, looks: Sequence[Evidence]) -> list[Evidence]:
    """The looks that a sentence may rest on; an answer, or what is said of an artifact, on any."""
    if claim.section == "answer" or of_artifacts(claim.text):
        return list(looks)
    return [look for look in looks if not doubt(look, claim.text)]


def _neighbours(claim: Claim, cited: Sequence[Evidence], looked: Sequence[Evidence]) -> list[Evidence]:
    """Described looks that are not cited: those at a tissue that the claim names, then the nearest ones."""
    known, tissues = {e.id for e in cited}, named(claim.text)
    numbers = [int(e.id[1:]) for e in cited]

    def order(look: Evidence) -> tuple[bool, int]:
        elsewhere = look.findings is None or look.findings.tissue not in tissues
        return elsewhere, min(abs(int(look.id[1:]) - n) for n in numbers)

    return sorted((e for e in looked if e.findings and e.id not in known), key=order)[:NEIGHBOURS]


def _elsewhere(claim: Claim, checks: Sequence[_Check], others: Sequence[Evidence]) -> Sequence[Evidence]:
    """Looks to ask besides the cited ones: all where none of those shows the claim, else those that are told
    to show an item of its list which none of them shows."""
    if not _supporting(checks):
        return others
    first: dict[str, Evidence] = {e.findings.tissue: e for e in reversed(others) if e.findings}
    missing = set(_items(claim)) - _shown_items(checks)
    return [first[t] for t in sorted(missing & first.keys())]


def _items(claim: Claim) -> tuple[str, ...]:
    """The tissues that a sentence on what is seen lists."""
    return listed(claim.text) if claim.section == "microscopy" else ()


def _shown_items(checks: Sequence[_Check]) -> set[str]:
    return {item for check in checks if check.verdict == "supported" for item in named(check.seen)}


def _check(
    resources: Resources, state: State, claims: Sequence[Claim], looks: Mapping[str, Sequence[Evidence]]
) -> dict[str, list[_Check]]:
    """Every claim beside each of its looks, asked together; pixels are shown with each look."""
    pairs = [(claim, look) for claim in claims for look in looks.get(claim.id, ())]
    pixels = {look.id: resources.slide(look.region.slide).read(look.region) for _, look in pairs}
    asked = [
        (f"verify {claim.id} by {look.id}", roles.verify(_said(claim, state), look.line(), [pixels[look.id]]))
        for claim, look in pairs
    ]
    found: dict[str, list[_Check]] = {claim.id: [] for claim in claims}
    for (claim, look), call in zip(pairs, resources.ask_all(asked), strict=True):
        found[claim.id].append(_Check(look, call))
    return found


def _said(claim: Claim, state: State) -> str:
    question = state["case"].question
    return f"{question} {claim.text}" if claim.section == "answer" and question else claim.text


def _supporting(checks: Sequence[_Check]) -> tuple[str, ...]:
    return tuple(check.look.id for check in checks if check.verdict == "supported")


def _judged(
    claim: Claim, cited: Sequence[Evidence], first: Sequence[_Check], second: Sequence[_Check]
) -> Claim:
    """The claim with its verdict, the looks that show it, and why."""
    if not cited:
        if _open(claim) and claim.reason is None:
            return claim.model_copy(update={"reason": "cites no evidence"})
        return claim
    shown = [item for item in _items(claim) if item in _shown_items([*first, *second])]
    if shown:
        return _list_judged(claim, [*first, *second], shown)
    if kept := _supporting(first):
        reason = f"checked against the pixels of each look: {len(kept)} of {len(first)} cited show it"
        return claim.model_copy(update={"verdict": "supported", "evidence": kept, "reason": reason})
    if kept := _supporting(second):
        reason = "the looks first cited do not show it; found in their neighbours by the check"
        return claim.model_copy(update={"verdict": "supported", "evidence": kept[:3], "reason": reason})
    against = [check for check in first if check.verdict == "contradicted"]
    if against:
        return claim.model_copy(update={"verdict": "contradicted", "reason": against[0].words})
    if not first:
        why = "; ".join(f"{look.id}: {doubt(look, claim.text)}" for look in cited)
        return claim.model_copy(update={"reason": f"no look that it cites is sound ({why})"})
    if all(check.call.data is None for check in first):
        return claim.model_copy(update={"reason": "the check gave no usable verdict"})
    return claim.model_copy(update={"reason": "no look that it cites shows it"})


def _list_judged(claim: Claim, checks: Sequence[_Check], shown: Sequence[str]) -> Claim:
    """A list with the items that looks show, and those looks."""
    looks = tuple(c.look.id for c in checks if _shown_items([c]) & set(shown))
    reason = f"each item checked against the pixels of looks: {len(looks)} show one"
    if missing := [item for item in listed(claim.text) if item not in shown]:
        reason = f"{reason}; left out, for no look shows it: {', '.join(missing)}"
    return claim.model_copy(
        update={
            "verdict": "supported",
            "text": only(claim.text, shown),
            "evidence": looks,
            "reason": reason,
        }
    )
