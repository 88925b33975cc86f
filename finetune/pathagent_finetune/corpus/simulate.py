"""Simulated cases: ledgers such as a describing model writes, and what follows from them.

A case is drawn from a diagnosis: some looks hit the lesion, others see ordinary tissue or a
look-alike, and some are misread. What a reader of the ledger may conclude is computed by Bayes'
rule under the same generative model (`posterior`), so the training target is the belief that the
evidence warrants and not the drawn truth that it may hide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence, Findings, Hypothesis, MadeBy
from pathagent_tools.core.vocabulary import DIAGNOSES, SLOTS

Slots = dict[str, str]
Table = dict[str, float]

PLACES = ("upper left", "upper right", "lower left", "lower right", "centre")

_ARCHITECTURE = {
    "adenoma": "crowded glands",
    "adenocarcinoma": "irregular glands",
    "mucinous carcinoma": "mucin pools",
    "poorly cohesive carcinoma": "single files",
    "solid carcinoma": "solid nests",
}
_GRADE_OF = {
    "low-grade dysplasia": "intermediate",
    "high-grade dysplasia": "high",
    "grade 1": "low",
    "grade 2": "intermediate",
    "grade 3": "high",
}
_MITOSES: dict[str, Table] = {
    "low": {"none": 0.8, "few": 0.18, "many": 0.02},
    "intermediate": {"none": 0.45, "few": 0.45, "many": 0.1},
    "high": {"none": 0.15, "few": 0.45, "many": 0.4},
}
_CONFUSED_GRADE: dict[str, Table] = {
    "low": {"low": 0.87, "intermediate": 0.12, "high": 0.01},
    "intermediate": {"low": 0.09, "intermediate": 0.82, "high": 0.09},
    "high": {"low": 0.01, "intermediate": 0.12, "high": 0.87},
}
_ORDINARY: dict[tuple[str, str], float] = {
    ("stroma", "none"): 0.34,
    ("smooth muscle", "none"): 0.12,
    ("adipose", "none"): 0.12,
    ("benign epithelium", "regular glands"): 0.3,
    ("lymphoid infiltrate", "diffuse infiltrate"): 0.035,
    ("background", "none"): 0.03,
    ("mucin", "none"): 0.02,
    ("necrosis", "none"): 0.005,
    # misread ordinary tissue
    ("dysplastic epithelium", "crowded glands"): 0.014,
    ("invasive tumour", "irregular glands"): 0.006,
    ("invasive tumour", "single files"): 0.006,
    ("invasive tumour", "solid nests"): 0.002,
    ("invasive tumour", "mucin pools"): 0.002,
}
_SHARES = (0.1, 0.3, 0.55, 0.8)


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
def _lesion_table(diagnosis: str, grade: str) -> dict[tuple[str, str], float]:
    """(tissue, architecture) → probability of a look that hits the lesion."""
    if diagnosis == "chronic inflammation":
        share = 0.72 if grade == "marked" else 0.45
        return {
            ("lymphoid infiltrate", "diffuse infiltrate"): share,
            ("benign epithelium", "regular glands"): 0.9 - share,
            ("stroma", "none"): 0.1,
        }
    mine = _ARCHITECTURE[diagnosis]
    tissue = "dysplastic epithelium" if diagnosis == "adenoma" else "invasive tumour"
    table = {
        (tissue, mine): 0.86,
        ("stroma", "none"): 0.03,
        ("lymphoid infiltrate", "diffuse infiltrate"): 0.015,
    }
    if diagnosis == "adenoma":
        table |= {
            ("benign epithelium", "regular glands"): 0.05,
            ("invasive tumour", "irregular glands"): 0.04,
        }
    else:
        others = [a for d, a in _ARCHITECTURE.items() if d not in ("adenoma", diagnosis)]
        table |= {("invasive tumour", a): 0.02 for a in others}
        table[("dysplastic epithelium", "crowded glands")] = 0.035 if diagnosis == "adenocarcinoma" else 0.01
    if diagnosis == "solid carcinoma":
        table[("necrosis", "none")] = 0.09
    if diagnosis == "mucinous carcinoma":
        table[("mucin", "none")] = 0.09
    total = sum(table.values())
    return {key: value / total for key, value in table.items()}


def _finish(rng: Random, tissue: str, architecture: str, grade: str, inflamed: str) -> Slots:
    """Fill the other slots of a look whose tissue and architecture are drawn."""
    tumour = tissue in ("invasive tumour", "dysplastic epithelium")
    if tumour:
        nuclear = pick(rng, _CONFUSED_GRADE.get(grade, _CONFUSED_GRADE["low"]))
        mitoses = pick(rng, _MITOSES[nuclear])
    elif tissue == "benign epithelium":
        nuclear, mitoses = (
            ("low" if rng.random() < 0.95 else "intermediate"),
            pick(rng, {"none": 0.93, "few": 0.07}),
        )
    else:
        nuclear, mitoses = "none", pick(rng, {"none": 0.96, "few": 0.04})
    necrosis = tissue == "necrosis" or (
        tissue == "invasive tumour" and rng.random() < (0.35 if architecture == "solid nests" else 0.03)
    )
    if tissue == "lymphoid infiltrate":
        inflammation = "marked" if rng.random() < 0.9 else "mild"
    else:
        inflammation = (
            inflamed if rng.random() < 0.7 else pick(rng, {"none": 0.7, "mild": 0.25, "marked": 0.05})
        )
    return {
        "tissue": tissue,
        "architecture": architecture,
        "nuclear_grade": nuclear,
        "mitoses": mitoses,
        "necrosis": "present" if necrosis else "absent",
        "inflammation": inflammation,
        "artifact": pick(
            rng, {"none": 0.9, "fold": 0.02, "blur": 0.03, "pen": 0.02, "bubble": 0.01, "crush": 0.02}
        ),
        "stain": pick(rng, {"pale": 0.2, "balanced": 0.6, "dark": 0.2}),
    }


def draw_look(rng: Random, diagnosis: str, grade: str, *, lesion: bool) -> Findings:
    """Findings of one look as a describing model might write them."""
    table = _lesion_table(diagnosis, grade) if lesion else _ORDINARY
    tissue, architecture = rng.choices(list(table), weights=list(table.values()))[0]
    inflamed = "none"
    if diagnosis == "chronic inflammation" and lesion:
        inflamed = grade
    nuclear = (
        _GRADE_OF.get(grade, "low") if lesion else pick(rng, {"low": 0.6, "intermediate": 0.3, "high": 0.1})
    )
    return Findings.model_validate(_finish(rng, tissue, architecture, nuclear, inflamed))


def draw_case(seed: int, *, looks: int | None = None) -> Case:
    """A case of 3 to 24 looks (the ledger may hold fewer lines than a model would want)."""
    rng = Random(f"case-{seed}")
    diagnosis = rng.choice(list(DIAGNOSES))
    grade = rng.choice(DIAGNOSES[diagnosis])
    n = looks or rng.choice((3, 4, 5, 6, 6, 8, 10, 12, 12, 14, 16, 16))
    share = 0.0 if diagnosis == "no significant abnormality" else rng.choice(_SHARES)
    places = rng.choices(PLACES, k=2)
    evidence = []
    for i in range(n):
        lesion = rng.random() < share
        findings = draw_look(rng, diagnosis, grade, lesion=lesion)
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


def _look_likelihood(look: Findings, diagnosis: str, grade: str, *, lesion: bool) -> float:
    """P(tissue, architecture, nuclear grade, mitoses, inflammation | hypothesis), up to shared factors."""
    table = _lesion_table(diagnosis, grade) if lesion else _ORDINARY
    p = table.get((look.tissue, look.architecture), 0.0005)
    if look.tissue in ("invasive tumour", "dysplastic epithelium"):
        if lesion:
            p *= (
                _CONFUSED_GRADE[_GRADE_OF.get(grade, "low")][look.nuclear_grade]
                if look.nuclear_grade != "none"
                else 0.02
            )
        else:
            p *= {"low": 0.6, "intermediate": 0.3, "high": 0.1, "none": 0.02}[look.nuclear_grade]
    inflamed = grade if lesion and diagnosis == "chronic inflammation" else "none"
    if look.tissue != "lymphoid infiltrate":
        background = {"none": 0.7, "mild": 0.25, "marked": 0.05}[look.inflammation]
        p *= 0.7 * (look.inflammation == inflamed) + 0.3 * background
    return p


def posterior(evidence: Sequence[Evidence]) -> dict[tuple[str, str], float]:
    """(diagnosis, grade) → probability given the ledger, each family with the same prior."""
    looks = [e.findings for e in evidence if e.findings]
    logs: dict[tuple[str, str], float] = {}
    ordinary = [_look_likelihood(f, "", "", lesion=False) for f in looks]
    for diagnosis, grades in DIAGNOSES.items():
        for grade in grades:
            prior = -math.log(len(DIAGNOSES) * len(grades))
            if diagnosis == "no significant abnormality":
                logs[diagnosis, grade] = prior + sum(map(math.log, ordinary))
                continue
            hit = [_look_likelihood(f, diagnosis, grade, lesion=True) for f in looks]
            by_share = [
                sum(math.log(s * h + (1 - s) * o) for h, o in zip(hit, ordinary, strict=True))
                for s in _SHARES
            ]
            top = max(by_share)
            logs[diagnosis, grade] = (
                prior + top + math.log(sum(math.exp(v - top) for v in by_share) / len(_SHARES))
            )
    top = max(logs.values())
    weights = {key: math.exp(value - top) for key, value in logs.items()}
    total = sum(weights.values())
    return {key: value / total for key, value in weights.items()}


def differential(evidence: Sequence[Evidence]) -> list[Hypothesis]:
    """Families by probability (at least 3 %), each with its likeliest grade; one to three of them."""
    belief = posterior(evidence)
    families: dict[str, float] = {}
    for (diagnosis, _), p in belief.items():
        families[diagnosis] = families.get(diagnosis, 0.0) + p
    ranked = sorted(families.items(), key=lambda item: -item[1])
    kept = [item for item in ranked[:3] if item[1] >= 0.03] or ranked[:1]
    out = []
    for diagnosis, p in kept:
        grade = max(DIAGNOSES[diagnosis], key=lambda g, d=diagnosis: belief[d, g])  # type: ignore[misc]
        percent = min(98, max(3, 5 * round(20 * p)))
        out.append(Hypothesis(diagnosis=diagnosis, grade=grade, probability=percent / 100))
    return out


def grade_certainty(evidence: Sequence[Evidence], leading: Hypothesis) -> float:
    """Probability of the leading grade within its family."""
    belief = posterior(evidence)
    mine = {g: belief[leading.diagnosis, g] for g in DIAGNOSES[leading.diagnosis]}
    return mine[leading.grade] / max(sum(mine.values()), 1e-12)


def sufficiency(evidence: Sequence[Evidence]) -> tuple[bool, str]:
    """Whether the ledger settles the diagnosis, else what to look for."""
    leading = differential(evidence)[0]
    looks = [e.findings for e in evidence if e.findings]
    if leading.diagnosis == "no significant abnormality":
        if leading.probability >= 0.7 and len(looks) >= 8:
            return True, ""
        return False, "abnormal glands or tumour cells in tissue not yet seen"
    if leading.probability < 0.75:
        rival = (differential(evidence)[1:] or [leading])[0]
        return False, f"fields that tell {leading.diagnosis} from {rival.diagnosis}"
    if leading.diagnosis == "chronic inflammation" and len(looks) < 8:
        return False, "tumour beside the lymphoid infiltrate"
    if grade_certainty(evidence, leading) < 0.6:
        return False, "nuclear grade and mitoses in the lesion"
    return True, ""


def random_findings(rng: Random) -> Findings:
    """Every slot drawn freely: teaches that a ledger line can say anything."""
    return Findings.model_validate({slot: rng.choice(values) for slot, values in SLOTS.items()})


_FAMILY_OF = {architecture: family for family, architecture in _ARCHITECTURE.items()}
_FAMILY_OF["diffuse infiltrate"] = "chronic inflammation"


def families_of(findings: Findings) -> tuple[str, ...]:
    """The diagnosis families that one look can carry by itself; empty where it carries none."""
    if findings.architecture in _FAMILY_OF:
        return (_FAMILY_OF[findings.architecture],)
    if findings.tissue in ("stroma", "smooth muscle", "adipose", "benign epithelium"):
        return ("no significant abnormality",)
    return ()
