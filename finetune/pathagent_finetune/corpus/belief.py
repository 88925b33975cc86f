"""What a ledger warrants, by Bayes' rule under the tables that simulated cases are drawn from.

The belief in a diagnosis, whether it is settled, and the facts that a report may state with the looks
that show them: the targets of the roles that read the ledger. Nothing at run time calls this module.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pathagent_finetune.corpus import simulate
from pathagent_tools.core.records import Evidence, Findings, Hypothesis
from pathagent_tools.core.vocabulary import DIAGNOSES

Looks = list[Evidence]
NORMAL, INFLAMED = "no significant abnormality", "chronic inflammation"


def _look_likelihood(look: Findings, diagnosis: str, grade: str, *, lesion: bool) -> float:
    """P(tissue, architecture, nuclear grade, inflammation | hypothesis), up to shared factors."""
    if lesion and diagnosis == NORMAL:
        return 1.0
    table = simulate.lesion_table(diagnosis, grade) if lesion else simulate.ORDINARY
    p = table.get((look.tissue, look.architecture), 0.0005)
    if look.tissue in ("invasive tumour", "dysplastic epithelium"):
        nuclei = simulate.NUCLEI.get(grade) if lesion else None
        read = simulate.READ_GRADE[nuclei] if nuclei else {"low": 0.47, "intermediate": 0.35, "high": 0.18}
        p *= read.get(look.nuclear_grade, 0.02)
    if look.tissue != "lymphoid infiltrate":
        p *= _inflammation_likelihood(look.inflammation, diagnosis, grade, lesion=lesion)
    return p


def _inflammation_likelihood(seen: str, diagnosis: str, grade: str, *, lesion: bool) -> float:
    if not lesion:
        return simulate.ORDINARY_INFLAMMATION[seen]
    if diagnosis == INFLAMED:
        return simulate.INFLAMMATION_OF_LOOK[grade][seen]
    prior = simulate.INFLAMMATION_OF_SLIDE
    return sum(p * simulate.INFLAMMATION_OF_LOOK[level][seen] for level, p in prior.items())


@lru_cache(maxsize=64)
def _posterior(looks: tuple[Findings, ...]) -> dict[tuple[str, str], float]:
    logs: dict[tuple[str, str], float] = {}
    kinds = Counter(looks)
    ordinary = {f: _look_likelihood(f, "", "", lesion=False) for f in kinds}
    for diagnosis, grades in DIAGNOSES.items():
        for grade in grades:
            hit = {f: _look_likelihood(f, diagnosis, grade, lesion=True) for f in kinds}
            by_share = [
                math.log(weight)
                + sum(n * math.log(s * hit[f] + (1 - s) * ordinary[f]) for f, n in kinds.items())
                for s, weight in simulate.shares_of(diagnosis).items()
            ]
            logs[diagnosis, grade] = _log_sum(by_share) - math.log(len(DIAGNOSES) * len(grades))
    return _normal(logs)


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs))


def _normal(logs: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    total = _log_sum(list(logs.values()))
    return {key: math.exp(value - total) for key, value in logs.items()}


def posterior(evidence: Sequence[Evidence]) -> dict[tuple[str, str], float]:
    """(diagnosis, grade) → probability given the ledger, each family with the same prior."""
    return _posterior(tuple(_plain(e.findings) for e in evidence if e.findings))


def _plain(findings: Findings) -> Findings:
    """Findings without what the belief does not read, so that equal looks are counted together."""
    return findings.model_copy(
        update={"artifact": "none", "stain": "balanced", "mitoses": "none", "necrosis": "absent"}
    )


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
    believed = differential(evidence)
    leading = believed[0]
    looks = [e.findings for e in evidence if e.findings]
    if leading.diagnosis == NORMAL:
        if leading.probability >= 0.7 and len(looks) >= 8:
            return True, ""
        return False, "abnormal glands or tumour cells in tissue not yet seen"
    if leading.probability < 0.75:
        rival = (believed[1:] or [leading])[0]
        return False, f"fields that tell {leading.diagnosis} from {rival.diagnosis}"
    if leading.diagnosis == INFLAMED and len(looks) < 8:
        return False, "tumour beside the lymphoid infiltrate"
    if grade_certainty(evidence, leading) < 0.6:
        return False, "nuclear grade and mitoses in the lesion"
    return True, ""


def lesion_looks(evidence: Sequence[Evidence], leading: Hypothesis) -> Looks:
    """The looks that carry the leading diagnosis: its own growth pattern, else its tissue."""
    seen = _seen(evidence)
    if leading.diagnosis == NORMAL:
        return []
    if leading.diagnosis == INFLAMED:
        return [e for e in seen if e.findings and e.findings.inflammation != "none"]
    tissue = "dysplastic epithelium" if leading.diagnosis == "adenoma" else "invasive tumour"
    mine = [e for e in seen if e.findings and e.findings.tissue == tissue]
    wanted = simulate.ARCHITECTURE[leading.diagnosis]
    return [e for e in mine if e.findings and e.findings.architecture == wanted] or mine


def _seen(evidence: Sequence[Evidence]) -> Looks:
    return [e for e in evidence if e.findings]


def _showing(looks: Sequence[Evidence], slot: str, *values: str) -> Looks:
    return [e for e in looks if getattr(e.findings, slot) in values]


def shows(findings: Findings, slot: str, value: str) -> bool:
    """Whether a look shows a slot's value; marked inflammation is a diffuse infiltrate of lymphocytes."""
    if (slot, value) == ("architecture", "diffuse infiltrate") and findings.inflammation == "marked":
        return True
    return bool(getattr(findings, slot) == value)


def report_facts(evidence: Sequence[Evidence], leading: Hypothesis) -> dict[str, tuple[str, Looks]]:
    """Slot → (value over the case, the looks that show it): what a report must say.

    A value is stated only where at least one look shows it.
    """
    seen, core = _seen(evidence), lesion_looks(evidence, leading)
    neoplasm = leading.diagnosis not in (NORMAL, INFLAMED)
    base = core or seen
    facts: dict[str, tuple[str, Looks]] = {}
    for value in _patterns(leading):
        looks = _showing(seen, "architecture", value)
        if value == "diffuse infiltrate":
            looks = looks or _showing(seen, "inflammation", "marked")
        if looks:
            facts["architecture"] = (value, looks)
            break
    epithelium = base if neoplasm else _showing(seen, "tissue", "benign epithelium")
    for value in (simulate.NUCLEI.get(leading.grade, "low"), *_commonest(epithelium, "nuclear_grade")):
        looks = _showing(epithelium, "nuclear_grade", value)
        if looks and value != "none":
            facts["nuclear_grade"] = (value, looks)
            break
    facts["mitoses"] = _mitoses(base, leading) if neoplasm else _shown(base, "mitoses", "none")
    facts["necrosis"] = _necrosis(seen, base, leading)
    if neoplasm:
        facts["inflammation"] = _likeliest(
            base, "inflammation", simulate.INFLAMMATION_OF_SLIDE, simulate.INFLAMMATION_OF_LOOK
        )
    else:
        facts["inflammation"] = _shown(
            base, "inflammation", leading.grade if leading.diagnosis == INFLAMED else "none"
        )
    return facts


def _patterns(leading: Hypothesis) -> tuple[str, ...]:
    if leading.grade == "marked":
        return ("diffuse infiltrate", "regular glands")
    return (simulate.ARCHITECTURE.get(leading.diagnosis, "regular glands"),)


def _commonest(looks: Sequence[Evidence], slot: str) -> list[str]:
    return [value for value, _ in Counter(getattr(e.findings, slot) for e in looks).most_common()]


def _shown(looks: Sequence[Evidence], slot: str, value: str) -> tuple[str, Looks]:
    """The value where a look shows it, else the commonest."""
    found = _showing(looks, slot, value)
    if found:
        return value, found
    value = _commonest(looks, slot)[0]
    return value, _showing(looks, slot, value)


def _likeliest(
    looks: Sequence[Evidence],
    slot: str,
    prior: Mapping[str, float],
    reading: Mapping[str, Mapping[str, float]],
) -> tuple[str, Looks]:
    """The likeliest value of a slot that at least one look shows, and those looks."""
    values = _commonest(looks, slot)

    def weight(value: str) -> float:
        return math.log(prior[value]) + sum(
            math.log(reading[value][getattr(e.findings, slot)]) for e in looks
        )

    best = max((v for v in prior if v in values), key=weight)
    return best, _showing(looks, slot, best)


def _mitoses(core: Sequence[Evidence], leading: Hypothesis) -> tuple[str, Looks]:
    prior = simulate.MITOSES_OF_SLIDE[simulate.NUCLEI[leading.grade]]
    return _likeliest(core, "mitoses", prior, simulate.MITOSES_OF_LOOK)


def _necrosis(seen: Looks, base: Sequence[Evidence], leading: Hypothesis) -> tuple[str, Looks]:
    """Present where the looks that show it are more than misreadings would give."""
    shown = _showing(seen, "necrosis", "present")
    prior = simulate.NECROSIS_OF_SLIDE.get((leading.diagnosis, leading.grade), simulate.RARE_NECROSIS)
    hit = simulate.NECROSIS_OF_LOOK.get(simulate.ARCHITECTURE.get(leading.diagnosis, ""), 0.1)
    miss, n = simulate.MISREAD_NECROSIS, len(base)
    k = min(len(shown), n)
    present = math.log(prior) + k * math.log(hit) + (n - k) * math.log(1 - hit)
    absent = math.log(1 - prior) + k * math.log(miss) + (n - k) * math.log(1 - miss)
    if shown and present > absent:
        return "present", shown
    clear = _showing(base, "necrosis", "absent")
    return ("absent", clear) if clear else ("present", shown)
