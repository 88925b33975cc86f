"""Description: what is seen in a few regions. One branch of the fan-out looks at its own regions only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from pathagent.agents.triage import with_notes
from pathagent.events import Looked
from pathagent.resources import Resources
from pathagent.state import Look, LookOrder, ModelCall
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Evidence, Findings, MadeBy, Measurement
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.vlm import roles

FIRST: Final = "E1"
"""Who waits sees this look first: no other is measured beside it, which would take its processor."""

Seen = list[tuple[Look, Image, tuple[Measurement, ...]]]


def description(resources: Resources, order: LookOrder) -> dict[str, Any]:
    """Read the pixels, measure them, let the model describe them where it may; an Evidence for each look."""
    looks = order["looks"]
    if looks[0].id == FIRST:
        with resources.first_look:
            seen = _seen(resources, looks)
    else:
        with resources.first_look:
            pass  # the first look, where it was being measured, is over
        seen = _seen(resources, looks)
    asked = [
        (f"describe {look.id}", roles.describe(image, field_um=_field_um(resources, look), measurements=m))
        for look, image, m in seen
        if look.reading == "read"
    ]
    calls = {call.key: call for call in resources.ask_all(asked)}
    evidence = {}
    for look, image, m in seen:
        found = _evidence(look, image, m, calls.get(f"describe {look.id}"))
        evidence[look.id] = found
        reason = f"{look.chosen_by}: {look.reason}"
        resources.events.emit(Looked(id=look.id, region=look.region, line=found.line(), reason=reason))
    return {"evidence": evidence, "calls": list(calls.values())}


def _seen(resources: Resources, looks: Sequence[Look]) -> Seen:
    pixels = [resources.slide(look.region.slide).read(look.region) for look in looks]
    return [(look, image, _measured(resources, look)) for look, image in zip(looks, pixels, strict=True)]


def _evidence(
    look: Look, pixels: Image, measured: tuple[Measurement, ...], call: ModelCall | None
) -> Evidence:
    return Evidence(
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


def _field_um(resources: Resources, look: Look) -> float:
    return look.region.width * resources.slide(look.region.slide).slide.mpp


def _measured(resources: Resources, look: Look) -> tuple[Measurement, ...]:
    if look.reading == "show":
        return ()
    opened = resources.slide(look.region.slide)
    return with_notes(
        opened.measure(look.region, known=look.reading == "read"), assumed=opened.slide.resolution_assumed
    )


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
