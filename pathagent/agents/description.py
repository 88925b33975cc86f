"""Description: what is seen in one region. One branch of the fan-out looks at one region."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import ValidationError

from pathagent.events import Looked
from pathagent.resources import Resources
from pathagent.state import Look, LookOrder, ModelCall
from pathagent_tools.core.records import Evidence, Findings, MadeBy, Measurement
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm import roles


def description(resources: Resources, order: LookOrder) -> dict[str, Any]:
    """Read the pixels, measure them, let the model describe them where it may; one Evidence record."""
    look = order["look"]
    opened = resources.slide(look.region.slide)
    pixels = opened.read(look.region)
    measured = _measured(resources, look)
    call: ModelCall | None = None
    if look.reading == "read":
        field_um = look.region.width * opened.slide.mpp
        call = resources.ask(
            f"describe {look.id}", roles.describe(pixels, field_um=field_um, measurements=measured)
        )
    evidence = Evidence(
        id=look.id,
        region=look.region,
        place=look.place,
        pixels_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
        findings=_findings(call),
        sentence=_sentence(call),
        measurements=measured,
        confidence=call.confidence if call and call.data else None,
        reason=look.reason,
        made_by=_made_by(call, look),
    )
    resources.events.emit(
        Looked(
            id=look.id, region=look.region, line=evidence.line(), reason=f"{look.chosen_by}: {look.reason}"
        )
    )
    return {"evidence": {look.id: evidence}, "calls": [call] if call else []}


def _measured(resources: Resources, look: Look) -> tuple[Measurement, ...]:
    if look.reading == "show":
        return ()
    opened = resources.slide(look.region.slide)
    return tuple(opened.measure(look.region))


def _findings(call: ModelCall | None) -> Findings | None:
    """The slots of the answer; None where the model did not look or gave no usable answer."""
    if call is None or call.data is None:
        return None
    try:
        return Findings.model_validate({slot: call.data.get(slot) for slot in SLOTS})
    except ValidationError:
        return None


def _sentence(call: ModelCall | None) -> str | None:
    text = str((call.data if call and call.data else {}).get("sentence", "")).strip()
    return text or None


def _made_by(call: ModelCall | None, look: Look) -> MadeBy:
    if call is None:
        return MadeBy(tool="read" if look.reading == "show" else "measure")
    return MadeBy(
        tool="describe",
        model=call.model,
        revision=call.revision,
        adapter=call.adapter,
        prompt_sha256=call.prompt_sha256,
    )
