"""Human review: the run stops until a person approves, edits or rejects the claims."""

from __future__ import annotations

import uuid
from typing import Any

from langgraph.types import interrupt

from pathagent.resources import Resources
from pathagent.state import State
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Claim, Review


def review(resources: Resources, state: State) -> dict[str, Any]:
    """Interrupt with the claims where review is required; apply the decision when it comes."""
    if state["case"].review == "none":
        return {"review": None}
    said = interrupt({"claims": [c.model_dump(mode="json") for c in state["claims"]]})
    decided = Review.model_validate(said)
    return {
        "review": decided,
        "drafted": state["claims"],
        "claims": edited(state["claims"], decided),
        "decision_id": uuid.uuid4().hex,
    }


def check_review(claims: list[Claim], decided: Review) -> None:
    """UserError where an edit names a claim that the draft does not have, or comes with no `edit`."""
    unknown = sorted(set(decided.edits) - {c.id for c in claims})
    if unknown:
        raise UserError(
            f"The draft has no claim {', '.join(unknown)}. Claims: {', '.join(c.id for c in claims)}."
        )
    if decided.edits and decided.decision != "edit":
        raise UserError(f"Edits were given with the decision {decided.decision!r}: use 'edit'.")


def edited(claims: list[Claim], decided: Review) -> list[Claim]:
    """The claims with the human's words; what the machine said stays in the claim's reason.

    An empty text strikes the claim from the report.
    """
    if decided.decision != "edit":
        return claims
    kept = []
    for claim in claims:
        text = decided.edits.get(claim.id, claim.text).strip()
        if not text:
            continue
        if text != claim.text:
            reason = f"edited by {decided.reviewer}; the machine wrote: {claim.text}"
            claim = claim.model_copy(update={"text": text, "reason": reason})
        kept.append(claim)
    return kept
