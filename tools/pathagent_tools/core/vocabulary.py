"""The closed vocabulary of a look: what the description agent may say about one region.

One slot per question that a pathologist asks of a field of view. The same words stand in the
JSON schema of the VLM, in phantom truth, in the evidence ledger and in the scores.
"""

from __future__ import annotations

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
