"""Do the looks that a claim cites show what it says? Exact on phantoms, where every look has its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pathagent_eval.lesions import touches_lesion
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.records import Claim, Evidence, Findings, Report
from pathagent_tools.core.scoring.report import values
from pathagent_tools.core.vocabulary import SLOTS

if TYPE_CHECKING:
    from pathagent_tools.phantom.truth import PhantomTruth
    from pathagent_tools.phantom.world import Phantom

NORMAL = "no significant abnormality"


class Grounding(Frozen):
    """Supported claims on what is seen that say something checkable: how many, and their cited looks."""

    claims: int = 0
    claims_shown: int = 0
    """Claims that at least one cited look shows."""
    looks: int = 0
    looks_shown: int = 0


def ground(report: Report, phantom: Phantom, truth: PhantomTruth) -> Grounding:
    """Every supported claim on what is seen, the model's or code's, beside the truth of its looks."""
    by_id = {e.id: e for e in report.evidence}
    claims = claims_shown = looks = looks_shown = 0
    for claim in report.claims:
        if not speaks_of_tissue(claim):
            continue
        said = statement(claim.text)
        if not said:
            continue
        shown = [_shown(said, by_id[i], phantom, truth) for i in claim.evidence]
        claims, claims_shown = claims + 1, claims_shown + any(shown)
        looks, looks_shown = looks + len(shown), looks_shown + sum(shown)
    return Grounding(claims=claims, claims_shown=claims_shown, looks=looks, looks_shown=looks_shown)


def speaks_of_tissue(claim: Claim) -> bool:
    """Whether a claim stands in a draft as something seen, whoever wrote it."""
    return claim.verdict == "supported" and claim.section in ("diagnosis", "microscopy")


def statement(text: str) -> dict[str, frozenset[str]]:
    """Slot of a look, or `diagnosis` → the values that a sentence names, else the tissues that it lists.

    A tumour's grade is left out: one look has nuclei, not a grade.
    """
    said = {slot: named for slot, named in values(text).items() if slot in (*SLOTS, "diagnosis")}
    if "diagnosis" in said:
        return {"diagnosis": said["diagnosis"]}
    if said:
        return said
    tissues = frozenset(t for t in SLOTS["tissue"] if t in text)
    return {"tissue": tissues} if tissues else {}


def shows(said: dict[str, frozenset[str]], findings: Findings, *, lesion: bool) -> bool:
    """Whether one look's true findings show all that is said; a diagnosis is shown by the lesion itself."""
    for slot, named in said.items():
        if slot == "diagnosis":
            if lesion == (NORMAL in named):
                return False
        elif getattr(findings, slot) not in named and not (
            "diffuse infiltrate" in named and findings.inflammation == "marked"
        ):
            return False
    return True


def _shown(said: dict[str, frozenset[str]], look: Evidence, phantom: Phantom, truth: PhantomTruth) -> bool:
    r, mpp = look.region, truth.mpp
    findings = phantom.findings((r.x * mpp, r.y * mpp, r.width * mpp, r.height * mpp))
    return shows(said, findings, lesion=touches_lesion(r, truth))
