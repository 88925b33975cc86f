"""The closed vocabulary of a look: what the description agent may say about one region.

One slot per question that a pathologist asks of a field of view. The same words stand in the
JSON schema of the VLM, in phantom truth, in the evidence ledger and in the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Tissue = Literal[
    "background",
    "adipose",
    "stroma",
    "smooth muscle",
    "benign epithelium",
    "dysplastic epithelium",
    "invasive tumour",
    "lymphoid infiltrate",
    "necrosis",
    "mucin",
]
Architecture = Literal[
    "none",
    "regular glands",
    "crowded glands",
    "irregular glands",
    "solid nests",
    "single files",
    "mucin pools",
    "diffuse infiltrate",
]
Grade = Literal["none", "low", "intermediate", "high"]
Amount = Literal["none", "few", "many"]
Presence = Literal["absent", "present"]
Degree = Literal["none", "mild", "marked"]
Artifact = Literal["none", "fold", "blur", "pen", "bubble", "crush"]
Stain = Literal["pale", "balanced", "dark"]

SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "tissue": get_args(Tissue),
    "architecture": get_args(Architecture),
    "nuclear_grade": get_args(Grade),
    "mitoses": get_args(Amount),
    "necrosis": get_args(Presence),
    "inflammation": get_args(Degree),
    "artifact": get_args(Artifact),
    "stain": get_args(Stain),
}
"""Slot name → allowed values, in the order in which the model writes them."""

SHOWN_FROM: Final[dict[Tissue, float]] = {
    "invasive tumour": 0.06,
    "dysplastic epithelium": 0.08,
    "necrosis": 0.15,
    "lymphoid infiltrate": 0.25,
    "benign epithelium": 0.20,
    "stroma": 0.20,
    "smooth muscle": 0.20,
    "adipose": 0.20,
    "mucin": 0.20,
    "background": 0.70,
}
"""Share of a look's area from which it shows a tissue, the most serious first."""
_SERIOUS: Final[tuple[Tissue, ...]] = tuple(SHOWN_FROM)[:5]


MILD_PER_MM2, MARKED_PER_MM2 = 900.0, 3000.0
"""From so many lymphocytes per mm² of tissue on, inflammation is mild, or marked."""


def inflammation_of(per_mm2: float) -> Degree:
    """The word for a density of lymphocytes."""
    return "marked" if per_mm2 >= MARKED_PER_MM2 else "mild" if per_mm2 >= MILD_PER_MM2 else "none"


def tissue_of(shares: Mapping[str, float]) -> Tissue:
    """What a look mainly shows, by the share of each tissue's area: the most serious above its limit, else
    the largest. A tissue that is not named has no share."""
    if shares.get("background", 0.0) > SHOWN_FROM["background"]:
        return "background"
    for word in _SERIOUS:
        if shares.get(word, 0.0) >= SHOWN_FROM[word]:
            return word
    ordinary: tuple[Tissue, ...] = ("benign epithelium", "stroma", "smooth muscle", "adipose", "mucin")
    return max(ordinary, key=lambda word: shares.get(word, 0.0))


def tissues_of(shares: Mapping[str, float]) -> tuple[Tissue, ...]:
    """All that a look shows: what it mainly shows, then whatever else reaches its share, largest first."""
    main = tissue_of(shares)
    rest = [t for t, limit in SHOWN_FROM.items() if t != main and shares.get(t, 0.0) >= limit]
    return (main, *sorted(rest, key=lambda t: -shares[t]))


DIAGNOSES: Final[dict[str, tuple[str, ...]]] = {
    "no significant abnormality": ("none",),
    "chronic inflammation": ("mild", "marked"),
    "adenoma": ("low-grade dysplasia", "high-grade dysplasia"),
    "adenocarcinoma": ("grade 1", "grade 2", "grade 3"),
    "mucinous carcinoma": ("grade 1", "grade 2", "grade 3"),
    "poorly cohesive carcinoma": ("grade 1", "grade 2", "grade 3"),
    "solid carcinoma": ("grade 1", "grade 2", "grade 3"),
}
"""Diagnosis family → its grades, as the embedded models know them (phantom families).

Hub models write free text into the same field; nothing in the graph is limited to this list.
"""

Verdict = Literal["supported", "contradicted", "unsupported", "not assessable"]
Writer = Literal["model", "rule"]
Outcome = Literal[
    "report",
    "insufficient evidence",
    "outside the model's domain",
    "not H&E",
    "wrong colours",
    "no tissue",
    "unusable quality",
    "resolution too coarse",
]

RESEARCH_USE_ONLY: Final = (
    "Research use only. Not for use in diagnostic procedures. "
    "Draft written by a machine; a qualified pathologist must review it."
)
NOT_ASSESSABLE: Final = "not assessable from this material"
