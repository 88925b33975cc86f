"""How a report prints numbers, units, places and endings."""

from __future__ import annotations

from typing import Final

from pathagent_tools.core.compare import Passage, SimilarCase
from pathagent_tools.core.records import Evidence, Measurement
from pathagent_tools.core.vocabulary import Outcome, Verdict

_UNITS: Final = {"/mm2": "per mm²", "mm2": "mm²", "um2": "µm²", "um": "µm", "deg": "°", "1": ""}

HEADLINES: Final[dict[Outcome, str]] = {
    "report": "A draft diagnosis, with its evidence",
    "insufficient evidence": "No diagnosis is drafted: the evidence is not enough",
    "outside the model's domain": "No diagnosis is drafted: the models do not know this tissue",
    "not H&E": "Not read: this does not look like H&E",
    "wrong colours": "Not read: the colours of this file are not those of the slide",
    "no tissue": "Nothing to read: no tissue was found",
    "unusable quality": "Not read: the image quality does not allow it",
    "resolution too coarse": "Not interpreted: the scan is too coarse",
}

MEANING: Final[dict[Outcome, str]] = {
    "report": "",
    "insufficient evidence": (
        "The fields below were looked at and described. They do not carry a diagnosis: read the differential "
        "as a list of what was considered, not as an answer."
    ),
    "outside the model's domain": (
        "The models behind this run were made for other material, and notice that this is not it. What they "
        "would say of it is withheld. Measurements need no model and are given; so are regions worth a look."
    ),
    "not H&E": (
        "Morphology is read on haematoxylin and eosin only. On any other stain the same colours mean "
        "something else, so nothing is described or measured from them."
    ),
    "wrong colours": (
        "Tissue and background are in colours that no H&E scan has, as when red and blue are exchanged or a "
        "colour space is misread. Export the slide again, or open it in another reader, and compare."
    ),
    "no tissue": (
        "The whole slide was searched at low power. If you see tissue on it, the scan may be very pale."
    ),
    "unusable quality": (
        "Too little of the tissue is sharp and free of artifacts. A new scan of the same glass may be "
        "readable."
    ),
    "resolution too coarse": (
        "Nuclei cannot be told apart at this resolution, so the models do not look and nuclei are not "
        "measured. A scan at 0.5 µm per pixel or finer can be read."
    ),
}

VERDICTS: Final[dict[Verdict, str]] = {
    "supported": "Supported by its evidence",
    "contradicted": "Contradicted by its evidence",
    "unsupported": "Not supported by evidence",
    "not assessable": "Not assessable from this material",
}

BY_RULE: Final = "Set by rule"
COMPUTED: Final = "Computed from the pixels"

SECTIONS: Final = {
    "answer": "Answer",
    "diagnosis": "Diagnosis",
    "microscopy": "Microscopy",
    "measurements": "Measured",
    "quality": "Material and quality",
    "synoptic": "Structured",
}

COMPARE: Final = "Compare"
CRITERIA: Final = "Written criteria"
LIKE_CASES: Final = "Similar cases"

STATUSES: Final = {"filled": "filled", "not assessable": "not assessable", "not found": "left open"}
"""Status of a required element as a page says it: an element that nobody looked for is not a negative."""

SLOT_LABELS: Final = {
    "tissue": "Tissue",
    "architecture": "Architecture",
    "nuclear_grade": "Nuclear grade",
    "mitoses": "Mitoses",
    "necrosis": "Necrosis",
    "inflammation": "Inflammation",
    "artifact": "Artifact",
    "stain": "Stain",
}


def number(value: float) -> str:
    """Three figures that a person would write: `4,210`, `48.3`, `0.61`."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def unit(code: str) -> str:
    """`um2` → `µm²`; a bare number has no unit."""
    return _UNITS.get(code, code)


def quantity(value: float, code: str) -> str:
    """`48.3 µm²`, `61 %`, `0.52`, `102°`."""
    word = unit(code)
    return f"{number(value)}{word if word == '°' else f' {word}' if word else ''}"


def spread(measurement: Measurement) -> str:
    """`22.1 – 88.4`, or an empty string for a single number."""
    if measurement.q05 is None or measurement.q95 is None:
        return ""
    return f"{number(measurement.q05)} – {number(measurement.q95)}"


def percent(share: float | None) -> str:
    """`83 %`; below one percent `< 1 %`; nothing for None."""
    if share is None:
        return ""
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def capital(text: str) -> str:
    """The first letter in upper case, the rest as it is (`HER2` stays)."""
    return text[:1].upper() + text[1:]


def seen(evidence: Evidence) -> str:
    """What a look showed, as a title: `Invasive tumour, solid nests`, or that no model described it."""
    if evidence.findings:
        return capital(evidence.findings.line())
    return f"{'Measured' if evidence.measurements else 'Shown'}, not described"


def source_of(item: Passage | SimilarCase) -> str:
    """Where a passage stands or which case is meant, and how it was found."""
    if isinstance(item, Passage):
        under = f", under “{item.heading}”" if item.heading else ""
        asked = ", ".join(f"“{words}”" for words in item.asked)
        return f"{item.file}, line {item.line}{under}; found by {asked} (BM25 {item.score:.3g})"
    return f"{item.name}; like {item.slide} (cosine {item.likeness:.3f})"


def plural(count: int, word: str) -> str:
    """`1 field`, `12 fields`."""
    return f"{count} {word}{'' if count == 1 else 's'}"
