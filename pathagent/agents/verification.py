"""Verification: each model claim against its evidence, in a context that holds nothing else.

Then the rules, which no model can overrule: what H&E cannot show is not assessable, and a claim whose
evidence does not resolve is unsupported. A diagnosis that its own evidence contradicts is withheld.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, get_args

from pathagent.resources import Resources
from pathagent.state import ModelCall, State
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Claim, Evidence
from pathagent_tools.core.vocabulary import Verdict
from pathagent_tools.vlm import roles

VERIFY_IMAGES: Final = {"open": 2, "phantom": 1}
"""Images that a verifying model may see at once; the embedded model was trained with one."""


def verify(resources: Resources, state: State) -> dict[str, Any]:
    """Verdicts for the model's claims, then the rules; a contradicted diagnosis ends in abstention."""
    from pathagent.rules import legality

    evidence = state.get("evidence", {})
    calls: list[ModelCall] = []
    checked: list[Claim] = []
    for claim in state.get("claims", []):
        call = _ask(resources, claim, state, evidence)
        if call is not None:
            calls.append(call)
        checked.append(_judged(claim, call))
    claims = legality.apply(checked, evidence=evidence, slides=tuple(state["slides"].values()))
    update: dict[str, Any] = {"claims": claims, "calls": calls}
    diagnosis = next((c for c in claims if c.section == "diagnosis"), None)
    if diagnosis is not None and diagnosis.verdict == "contradicted":
        update["outcome"] = "insufficient evidence"
        update["outcome_text"] = (
            f"No diagnosis is drafted: {diagnosis.text.rstrip('.')} was proposed, and its own evidence "
            "contradicts it."
        )
    return update


def _ask(
    resources: Resources, claim: Claim, state: State, evidence: Mapping[str, Evidence]
) -> ModelCall | None:
    """None where there is nothing to ask: code's claims, settled verdicts, claims without evidence."""
    cited = [evidence[i] for i in claim.evidence if i in evidence]
    if claim.written_by == "rule" or claim.verdict != "unsupported" or not cited:
        return None
    question = state["case"].question
    said = f"{question} {claim.text}" if claim.section == "answer" and question else claim.text
    images = _images(resources, cited)
    return resources.ask(f"verify {claim.id}", roles.verify(said, "\n".join(e.line() for e in cited), images))


def _images(resources: Resources, cited: Sequence[Evidence]) -> list[Image]:
    """The cited regions, if they are few enough to be shown all; else their lines speak alone."""
    limit = VERIFY_IMAGES[resources.profile.domain]
    if len(cited) > limit:
        return []
    return [resources.slide(e.region.slide).read(e.region) for e in cited]


def _judged(claim: Claim, call: ModelCall | None) -> Claim:
    if call is None:
        if claim.verdict == "unsupported" and claim.written_by == "model" and claim.reason is None:
            return claim.model_copy(update={"reason": "cites no evidence"})
        return claim
    verdict = str((call.data or {}).get("verdict", ""))
    if verdict not in get_args(Verdict):
        return claim.model_copy(update={"reason": "the check gave no usable verdict"})
    update = {"verdict": cast("Verdict", verdict), "reason": "checked against the evidence it cites"}
    return claim.model_copy(update=update)
