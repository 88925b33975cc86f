"""How a case and its question are put to the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pathagent.resources import Resources
from pathagent.state import ModelCall, State
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Evidence
from pathagent_tools.vlm import roles

ANSWER_IMAGES: Final = 2


def slides_text(state: State) -> str:
    """One line a slide that the models may read."""
    readable = [r for r in state["slides"].values() if r.outcome == "report"]
    return "\n".join(roles.slide_text(r.id, r.tissue_mm2, r.pieces) for r in readable)


def ask_question(resources: Resources, state: State, described: Sequence[Evidence], key: str) -> ModelCall:
    """Put the case's question to the model, with the belief and the ledger as they stand."""
    case, read = state["case"], roles.telling(described)
    request = roles.answer(
        slides_text(state),
        roles.differential_text(state.get("differential", [])),
        case.question or "",
        roles.ledger_text(described),
        [e.id for e in read],
        options=case.options,
        images=_images(resources, read) if resources.profile.domain == "open" else (),
    )
    return resources.ask(key, request)


def _images(resources: Resources, read: Sequence[Evidence]) -> list[Image]:
    """The surest looks. The embedded model answers from the ledger alone, as it was trained to."""
    surest = sorted(read, key=lambda e: -(e.confidence or 0.0))[:ANSWER_IMAGES]
    return [resources.slide(e.region.slide).read(e.region) for e in surest]
