"""Simulated cases: ledgers such as a describing model writes about phantom slides.

A case is drawn from a diagnosis and three facts of its slide (mitoses, necrosis, inflammation). Some
looks hit the lesion, others see ordinary tissue, and some are misread. What a reader of the ledger may
conclude is computed from the same tables by `belief`, so a training target is what the evidence
warrants and not the drawn truth that it may hide.

The tables are shares counted over the looks of 178 small phantoms (`Phantom.findings`), softened by
what a describing model misreads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence, Findings, MadeBy
from pathagent_tools.core.vocabulary import DIAGNOSES, SLOTS

Slots = dict[str, str]
Table = dict[str, float]

PLACES = ("upper left", "upper right", "lower left", "lower right", "centre")

ARCHITECTURE = {
    "adenoma": "crowded glands",
    "adenocarcinoma": "irregular glands",
    "mucinous carcinoma": "mucin pools",
    "poorly cohesive carcinoma": "single files",
    "solid carcinoma": "solid nests",
}
NUCLEI = {
    "low-grade dysplasia": "intermediate",
    "high-grade dysplasia": "high",
    "grade 1": "low",
    "grade 2": "intermediate",
    "grade 3": "high",
}
"""Grade of a neoplasm → grade of its nuclei."""
READ_GRADE: dict[str, Table] = {
    "low": {"low": 0.86, "intermediate": 0.12, "high": 0.02},
    "intermediate": {"low": 0.1, "intermediate": 0.75, "high": 0.15},
    "high": {"low": 0.04, "intermediate": 0.18, "high": 0.78},
}
MITOSES_OF_SLIDE: dict[str, Table] = {
    "none": {"none": 0.98, "few": 0.015, "many": 0.005},
    "low": {"none": 0.8, "few": 0.18, "many": 0.02},
    "intermediate": {"none": 0.22, "few": 0.53, "many": 0.25},
    "high": {"none": 0.02, "few": 0.28, "many": 0.7},
}
"""Grade of the lesion's nuclei → mitoses in the slide's densest field."""
MITOSES_OF_LOOK: dict[str, Table] = {
    "none": {"none": 0.91, "few": 0.08, "many": 0.01},
    "few": {"none": 0.57, "few": 0.38, "many": 0.05},
    "many": {"none": 0.34, "few": 0.41, "many": 0.25},
}
INFLAMMATION_OF_SLIDE: Table = {"none": 0.78, "mild": 0.21, "marked": 0.01}
"""In the lesion of a neoplasm."""
INFLAMMATION_OF_LOOK: dict[str, Table] = {
    "none": {"none": 0.83, "mild": 0.16, "marked": 0.01},
    "mild": {"none": 0.3, "mild": 0.63, "marked": 0.07},
    "marked": {"none": 0.03, "mild": 0.17, "marked": 0.8},
}
ORDINARY_INFLAMMATION: Table = {"none": 0.78, "mild": 0.2, "marked": 0.02}
"""Higher than on the slide: looks go to what stands out first, and inflamed tissue does."""
NECROSIS_OF_SLIDE = {
    ("adenocarcinoma", "grade 3"): 0.33,
    ("adenocarcinoma", "grade 2"): 0.05,
    ("solid carcinoma", "grade 2"): 0.15,
    ("solid carcinoma", "grade 3"): 0.55,
}
RARE_NECROSIS, MISREAD_NECROSIS = 0.003, 0.02
NECROSIS_OF_LOOK = {"solid nests": 0.47, "irregular glands": 0.25}
ORDINARY: dict[tuple[str, str], float] = {
    ("stroma", "none"): 0.4,
    ("benign epithelium", "regular glands"): 0.38,
    ("smooth muscle", "none"): 0.08,
    ("adipose", "none"): 0.07,
    ("background", "none"): 0.02,
    ("lymphoid infiltrate", "diffuse infiltrate"): 0.008,
    ("mucin", "mucin pools"): 0.008,
    ("necrosis", "none"): 0.003,
    # misread ordinary tissue
    ("dysplastic epithelium", "crowded glands"): 0.01,
    ("invasive tumour", "irregular glands"): 0.006,
    ("invasive tumour", "single files"): 0.009,
    ("invasive tumour", "solid nests"): 0.003,
    ("invasive tumour", "mucin pools"): 0.003,
}
SHARES = {0.08: 0.1, 0.3: 0.3, 0.55: 0.35, 0.8: 0.25}
INFLAMED_SHARES = {0.25: 0.15, 0.5: 0.35, 0.75: 0.35, 0.95: 0.15}
"""Share of the looks that hit the lesion → how often; inflammation is never small."""


@dataclass(frozen=True, slots=True)
class Case:
    """One simulated case: the ledger, the slide line's numbers, and the drawn truth."""

    diagnosis: str
    grade: str
    evidence: tuple[Evidence, ...]
    tissue_mm2: float
    pieces: int


def pick(rng: Random, table: Table) -> str:
    """Draw a key by its weight."""
    return rng.choices(list(table), weights=list(table.values()))[0]


@cache
def lesion_table(diagnosis: str, grade: str) -> dict[tuple[str, str], float]:
    """(tissue, architecture) → probability of a look that hits the lesion."""
    if diagnosis == "chronic inflammation":
        follicles = 0.14 if grade == "marked" else 0.02
        table = {
            ("lymphoid infiltrate", "diffuse infiltrate"): follicles,
            ("benign epithelium", "regular glands"): 0.45,
            ("stroma", "none"): 0.42,
            ("smooth muscle", "none"): 0.03,
            ("adipose", "none"): 0.05,
        }
    elif diagnosis == "adenoma":
        table = {
            ("dysplastic epithelium", "crowded glands"): 0.84,
            ("benign epithelium", "regular glands"): 0.09,
            ("stroma", "none"): 0.04,
            ("invasive tumour", "irregular glands"): 0.03,
        }
    else:
        others = [a for d, a in ARCHITECTURE.items() if d not in ("adenoma", diagnosis)]
        table = {
            ("invasive tumour", ARCHITECTURE[diagnosis]): 0.8,
            ("stroma", "none"): 0.06,
            ("benign epithelium", "regular glands"): 0.04,
            ("lymphoid infiltrate", "diffuse infiltrate"): 0.01,
            ("dysplastic epithelium", "crowded glands"): 0.03 if diagnosis == "adenocarcinoma" else 0.008,
            **{("invasive tumour", a): 0.022 for a in others},
        }
        table |= {
            "solid carcinoma": {("necrosis", "none"): 0.02 if grade == "grade 1" else 0.05},
            "mucinous carcinoma": {("mucin", "mucin pools"): 0.08},
        }.get(diagnosis, {})
    total = sum(table.values())
    return {key: value / total for key, value in table.items()}


def shares_of(diagnosis: str) -> dict[float, float]:
    """Share of a case's looks that hit its lesion → probability."""
    if diagnosis == "no significant abnormality":
        return {0.0: 1.0}
    return INFLAMED_SHARES if diagnosis == "chronic inflammation" else SHARES


@dataclass(frozen=True, slots=True)
class DrawnFacts:
    """What is true of a drawn slide beside its diagnosis."""

    nuclei: str
    mitoses: str
    necrosis: bool
    inflammation: str


def draw_facts(rng: Random, diagnosis: str, grade: str) -> DrawnFacts:
    nuclei = NUCLEI.get(grade, "none")
    inflammation = pick(rng, INFLAMMATION_OF_SLIDE) if nuclei != "none" else "none"
    return DrawnFacts(
        nuclei,
        pick(rng, MITOSES_OF_SLIDE[nuclei]),
        rng.random() < NECROSIS_OF_SLIDE.get((diagnosis, grade), RARE_NECROSIS),
        grade if diagnosis == "chronic inflammation" else inflammation,
    )


def _draw_look(rng: Random, diagnosis: str, grade: str, facts: DrawnFacts, *, lesion: bool) -> Findings:
    """Findings of one look as a describing model might write them."""
    table = lesion_table(diagnosis, grade) if lesion else ORDINARY
    tissue, architecture = rng.choices(list(table), weights=list(table.values()))[0]
    tumour = tissue in ("invasive tumour", "dysplastic epithelium")
    if tumour:
        nuclei = facts.nuclei if lesion and facts.nuclei != "none" else pick(rng, _MISREAD_NUCLEI)
        nuclear_grade = pick(rng, READ_GRADE[nuclei])
        mitoses = pick(rng, MITOSES_OF_LOOK[facts.mitoses if lesion else "none"])
    elif tissue == "benign epithelium":
        nuclear_grade = "low" if rng.random() < 0.96 else "intermediate"
        mitoses = "none" if rng.random() < 0.97 else "few"
    else:
        nuclear_grade = "none" if rng.random() < 0.85 else "low"
        mitoses = "none" if rng.random() < 0.98 else "few"
    dying = NECROSIS_OF_LOOK.get(architecture, 0.1) if facts.necrosis and lesion else MISREAD_NECROSIS
    if tissue == "lymphoid infiltrate":
        inflammation = "marked" if rng.random() < 0.93 else "mild"
    else:
        inflammation = pick(
            rng, INFLAMMATION_OF_LOOK[facts.inflammation] if lesion else ORDINARY_INFLAMMATION
        )
    return Findings.model_validate(
        {
            "tissue": tissue,
            "architecture": architecture,
            "nuclear_grade": nuclear_grade,
            "mitoses": mitoses,
            "necrosis": "present" if tissue == "necrosis" or rng.random() < dying else "absent",
            "inflammation": inflammation,
            "artifact": pick(rng, _ARTIFACTS),
            "stain": pick(rng, {"pale": 0.2, "balanced": 0.6, "dark": 0.2}),
        }
    )


_MISREAD_NUCLEI: Table = {"low": 0.5, "intermediate": 0.35, "high": 0.15}
_ARTIFACTS: Table = {"none": 0.84, "fold": 0.02, "blur": 0.02, "pen": 0.04, "bubble": 0.04, "crush": 0.04}


def draw_case(seed: int, *, looks: int | None = None) -> Case:
    """A case of 3 to 16 looks."""
    rng = Random(f"case-{seed}")
    diagnosis = rng.choice(list(DIAGNOSES))
    grade = rng.choice(DIAGNOSES[diagnosis])
    facts = draw_facts(rng, diagnosis, grade)
    n = looks or rng.choice((3, 4, 5, 6, 6, 8, 10, 12, 12, 14, 16, 16))
    shares = shares_of(diagnosis)
    share = rng.choices(list(shares), weights=list(shares.values()))[0]
    places = rng.choices(PLACES, k=2)
    evidence = []
    for i in range(n):
        lesion = rng.random() < share
        findings = _draw_look(rng, diagnosis, grade, facts, lesion=lesion)
        place = rng.choice(places) if lesion and rng.random() < 0.8 else rng.choice(PLACES)
        evidence.append(evidence_of(i + 1, findings, place))
    return Case(diagnosis, grade, tuple(evidence), round(rng.uniform(0.5, 14), 1), rng.randint(1, 6))


def evidence_of(number: int, findings: Findings, place: str, slide: str = "S1") -> Evidence:
    """An evidence record of the simulated ledger (its region and digest carry no meaning)."""
    return Evidence(
        id=f"E{number}",
        region=Region(slide=slide, x=0, y=0, width=384, height=384, mpp=1.0),
        place=place,
        pixels_sha256="",
        findings=findings,
        reason="simulated",
        made_by=MadeBy(tool="simulate"),
    )


def narrowed(case: Case, rng: Random, first_look: Sequence[Evidence] = ()) -> Case:
    """The case with one to three of its looks, as where a person asks about a region that they drew.

    first_look: the looks of which one must be the first; none: any. The ids begin anywhere, as those of a
    region of a case that has been looked at do.
    """
    n = rng.choice((1, 1, 1, 2, 3))
    looks = rng.sample(case.evidence, n)
    if first_look:
        looks[0] = rng.choice(first_look)
    first = rng.choice((1, rng.randint(2, 24)))
    ids = (f"E{first + i}" for i in range(n))
    return replace(
        case, evidence=tuple(e.model_copy(update={"id": i}) for i, e in zip(ids, looks, strict=True))
    )


def random_findings(rng: Random) -> Findings:
    """Every slot drawn freely: teaches that a ledger line can say anything."""
    return Findings.model_validate({slot: rng.choice(values) for slot, values in SLOTS.items()})
