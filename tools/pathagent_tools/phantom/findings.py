"""The truth of one look as `Findings`: rules over exact area shares, nuclei and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.records import Findings
from pathagent_tools.core.vocabulary import (
    Amount,
    Architecture,
    Artifact,
    Degree,
    Grade,
    Tissue,
    inflammation_of,
    tissue_of,
)
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.cells import CLASS, Table
from pathagent_tools.phantom.plan import mitoses
from pathagent_tools.phantom.stain import StainWord

FIELD_UM: Final = 192.0
"""Side of the look that the limit of many mitoses is made for."""

EPITHELIUM_SHARE, NECROSIS_PRESENT, ARTIFACT_SHARE = 0.05, 0.04, 0.20
MANY_MITOSES = 3

_MERGE: Final = {
    k.C_BENIGN_LUMEN: k.C_BENIGN,
    k.C_DYSPLASTIC_LUMEN: k.C_DYSPLASTIC,
    k.C_TUMOUR_LUMEN: k.C_TUMOUR,
    k.C_VESSEL: k.C_STROMA,
}
ARCHITECTURES: Final[dict[str, Architecture]] = {
    "chronic inflammation": "diffuse infiltrate",
    "adenoma": "crowded glands",
    "adenocarcinoma": "irregular glands",
    "solid carcinoma": "solid nests",
    "poorly cohesive carcinoma": "single files",
    "mucinous carcinoma": "mucin pools",
}
"""Growth pattern of each diagnosis family that has a lesion."""


def merged_classes(counts: NDArray[np.float64]) -> dict[str, float]:
    """Counts by class number → by tissue word; lumina go to their epithelium, vessels to stroma."""
    total = counts.astype(float).copy()
    for lumen, epithelium in _MERGE.items():
        total[epithelium] += total[lumen]
    return {k.CLASSES[i]: float(total[i]) for i in range(10)}


def class_fractions(labels: NDArray[np.uint8]) -> dict[str, float]:
    """Area share of each tissue word in a class map."""
    counts = np.bincount(labels.ravel(), minlength=len(k.CLASSES)).astype(float)
    return merged_classes(counts / labels.size)


def findings_of(
    fractions: Mapping[str, float],
    nuclei: Table,
    area_mm2: float,
    *,
    family: str,
    grade: int,
    artifact_cover: Mapping[str, float],
    stain: StainWord,
) -> Findings:
    """Truth of a look from its shares, the nuclei inside it (`area_mm2` wide) and its artifacts."""
    tissue = tissue_of(fractions)
    return Findings(
        tissue=tissue,
        architecture=_architecture(tissue, family),
        nuclear_grade=_nuclear_grade(fractions, grade, tissue),
        mitoses=_amount(nuclei, area_mm2),
        necrosis="present" if fractions["necrosis"] >= NECROSIS_PRESENT else "absent",
        inflammation=_inflammation(nuclei, area_mm2, fractions),
        artifact=_artifact(artifact_cover),
        stain=stain,
    )


def _architecture(tissue: Tissue, family: str) -> Architecture:
    if tissue == "invasive tumour":
        return ARCHITECTURES[family]
    plain: dict[str, Architecture] = {
        "benign epithelium": "regular glands",
        "dysplastic epithelium": "crowded glands",
        "lymphoid infiltrate": "diffuse infiltrate",
        "mucin": "mucin pools",
    }
    return plain.get(tissue, "none")


def _nuclear_grade(fractions: Mapping[str, float], grade: int, tissue: Tissue) -> Grade:
    shares = {w: fractions[w] for w in ("benign epithelium", "dysplastic epithelium", "invasive tumour")}
    word = tissue if tissue in shares else max(shares, key=lambda w: shares[w])
    if shares[word] < EPITHELIUM_SHARE or tissue == "background":
        return "none"
    if word == "benign epithelium":
        return "low"
    if word == "dysplastic epithelium":
        return "intermediate" if grade == 1 else "high"
    return k.GRADE_WORDS[grade - 1]


def _amount(nuclei: Table, area_mm2: float) -> Amount:
    """Counted in the look itself; a look of another size than 192 µm is scaled to it."""
    n = mitoses(nuclei)
    if n == 0:
        return "none"
    scaled = n * (FIELD_UM * FIELD_UM * 1e-6) / area_mm2
    return "many" if scaled >= MANY_MITOSES - 0.5 else "few"


def _inflammation(nuclei: Table, area_mm2: float, fractions: Mapping[str, float]) -> Degree:
    tissue_mm2 = area_mm2 * max(1.0 - fractions["background"], 0.15)
    density = float((nuclei[:, CLASS] == k.N_LYMPHOCYTE).sum()) / tissue_mm2
    return inflammation_of(density)


def _artifact(cover: Mapping[str, float]) -> Artifact:
    words: tuple[Artifact, ...] = ("fold", "blur", "pen", "bubble", "crush")
    best = max(words, key=lambda word: cover.get(word, 0.0))
    return best if cover.get(best, 0.0) >= ARTIFACT_SHARE else "none"
