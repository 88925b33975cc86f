"""Required elements per specimen type: each one filled, "not assessable" or "not found", never absent.

The elements are data in our own words (`specimens/*.yaml`); this module only knows where each may be
filled from. Absence in the fields looked at is written as just that: it proves nothing elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, Self

from pydantic import model_validator

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.records import Evidence, Hypothesis, Measurement, SynopticField
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE, SLOTS, Outcome, Writer

DEFAULT_SPECIMEN: Final = "generic biopsy"
SPECIMENS: Final = (
    "generic biopsy",
    "generic resection",
    "colorectum",
    "stomach",
    "breast",
    "prostate",
    "lymph node",
    "skin",
)
Status = Literal["filled", "not assessable", "not found"]


class Element(Frozen):
    """One required element and the one place from which it may be filled."""

    key: str
    label: str
    need: Literal["core", "conditional", "optional"]
    source: Literal["diagnosis", "grade", "slot", "measurement", "request", "elsewhere", "unread"]
    slot: str = ""
    seen: tuple[str, ...] = ()
    measurement: str = ""
    why: str = ""
    when: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _slot_of_the_vocabulary(self) -> Self:
        if self.source == "slot" and not (self.seen and set(self.seen) <= set(SLOTS.get(self.slot, ()))):
            raise ValueError(f"{self.key}: {self.seen} are not values of the slot {self.slot!r}")
        return self

    def applies(self, diagnosis: str) -> bool:
        """Whether a conditional element is asked for with this diagnosis."""
        return not self.when or any(part in diagnosis for part in self.when)


def specimen_of(name: str | None) -> str:
    """A known specimen type; None is a biopsy of no stated site. UserError with suggestions otherwise."""
    if name is None:
        return DEFAULT_SPECIMEN
    wanted = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    if wanted in SPECIMENS:
        return wanted
    close = difflib.get_close_matches(wanted, SPECIMENS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UserError(f"Unknown specimen type {name!r}.{hint} Known: {', '.join(SPECIMENS)}.")


def fill(
    specimen: str | None,
    differential: Sequence[Hypothesis],
    evidence: Sequence[Evidence],
    measurements: Sequence[Measurement],
    outcome: Outcome,
) -> tuple[SynopticField, ...]:
    """All elements of a specimen type, in the order of its file.

    differential: likeliest first; used only where `outcome` is "report". evidence: all looks of the run.
    measurements: of all slides; of two with the same name the first is taken. Raises UserError for an
    unknown specimen type.
    """
    leading = differential[0] if differential and outcome == "report" else None
    described = [e for e in evidence if e.findings]
    measured = {m.name: m for m in reversed(measurements)}
    return tuple(
        _field(element, leading, described, measured, outcome) for element in elements(specimen_of(specimen))
    )


def _field(
    element: Element,
    leading: Hypothesis | None,
    described: Sequence[Evidence],
    measured: Mapping[str, Measurement],
    outcome: Outcome,
) -> SynopticField:
    if element.source == "elsewhere":
        return _filled(element, f"{NOT_ASSESSABLE}: {element.why}", "not assessable")
    if leading and not element.applies(leading.diagnosis):
        return _filled(element, f"does not apply to {leading.diagnosis}", "not found")
    if element.source in ("diagnosis", "grade"):
        return _from_hypothesis(element, leading, described, outcome)
    if element.source == "slot":
        return _from_looks(element, described, outcome)
    if element.source == "measurement":
        return _from_measurement(element, measured)
    return _filled(element, element.why or "not stated with the slide", "not found")


def _from_hypothesis(
    element: Element, leading: Hypothesis | None, described: Sequence[Evidence], outcome: Outcome
) -> SynopticField:
    if leading is None:
        return _withheld(element, outcome, "no diagnosis is drafted")
    value = leading.diagnosis if element.source == "diagnosis" else leading.grade
    if value == "none":
        return _filled(element, "no grade is drafted", "not found")
    return _filled(element, value, "filled", _telling(described), "model")


def _telling(described: Sequence[Evidence]) -> tuple[str, ...]:
    """The looks at a lesion; all looks where none shows one."""
    lesions = ("invasive tumour", "dysplastic epithelium", "lymphoid infiltrate", "mucin", "necrosis")
    for tissue in lesions:
        if found := tuple(e.id for e in described if e.findings and e.findings.tissue == tissue):
            return found
    return tuple(e.id for e in described)


def _from_looks(element: Element, described: Sequence[Evidence], outcome: Outcome) -> SynopticField:
    if not described:
        return _withheld(element, outcome, "no field was described")
    found: dict[str, list[str]] = {}
    for look in described:
        value = getattr(look.findings, element.slot)
        if value in element.seen:
            found.setdefault(value, []).append(look.id)
    if not found:
        value = f"not seen in the {_count(len(described))} looked at"
        return _filled(element, value, "filled", tuple(e.id for e in described), "model")
    likeliest = sorted(found.items(), key=lambda item: (-len(item[1]), element.seen.index(item[0])))
    words = [f"{value} ({len(ids)} of {_count(len(described))})" for value, ids in likeliest]
    cited = tuple(e.id for e in described if any(e.id in ids for ids in found.values()))
    return _filled(element, "; ".join(words), "filled", cited, "model")


def _from_measurement(element: Element, measured: Mapping[str, Measurement]) -> SynopticField:
    number = measured.get(element.measurement)
    if number is None:
        return _filled(element, "not measured on this material", "not found")
    unit = number.unit.replace("/mm2", "per mm²").replace("um2", "µm²").replace("mm2", "mm²")
    value = f"{_figures(number.value)} {unit}".replace(" 1", "") if unit != "1" else _figures(number.value)
    note = f" ({number.note})" if number.note else ""
    return _filled(element, f"{value}{note}", "filled")


def _withheld(element: Element, outcome: Outcome, otherwise: str) -> SynopticField:
    """Nothing to fill from: by the nature of the material, or because no one got that far."""
    if outcome in ("report", "insufficient evidence"):
        return _filled(element, otherwise, "not found")
    return _filled(element, f"not read: {outcome}", "not assessable")


def _filled(
    element: Element, value: str, status: Status, evidence: tuple[str, ...] = (), writer: Writer = "rule"
) -> SynopticField:
    return SynopticField(
        key=element.key,
        label=element.label,
        need=element.need,
        value=value,
        status=status,
        evidence=evidence,
        written_by=writer,
    )


def _count(fields: int) -> str:
    return "1 field" if fields == 1 else f"{fields} fields"


def _figures(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@cache
def elements(specimen: str) -> tuple[Element, ...]:
    """The required elements of one of `SPECIMENS`."""
    import yaml

    folder = files("pathagent.rules") / "specimens"
    shared: dict[str, Any] = yaml.safe_load((folder / "shared.yaml").read_text("utf-8"))
    name = specimen.replace(" ", "_")
    listed = yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8"))["elements"]
    return tuple(_element({"key": e, **shared[e]} if isinstance(e, str) else e) for e in listed)


def _element(data: Mapping[str, Any]) -> Element:
    return Element.model_validate({("source" if k == "from" else k): v for k, v in data.items()})
