"""Do the looks that a claim cites show what it says? Exact on phantoms, where every look has its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pathagent.rules.tissue_lists import listed
from pathagent_eval.lesions import touches_lesion
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.records import Claim, Evidence, Findings, Report
from pathagent_tools.core.scoring.report import values
from pathagent_tools.core.vocabulary import SLOTS, Tissue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pathagent_tools.phantom.truth import PhantomTruth
    from pathagent_tools.phantom.world import Phantom

NORMAL = "no significant abnormality"


class Grounding(Frozen):
    """Supported claims on what is seen that say something checkable: how many, and their cited looks."""

    claims: int = 0
    claims_shown: int = 0
    """Claims that a cited look shows; of a list of tissues, each item by one."""
    looks: int = 0
    looks_shown: int = 0


class TrueLook(Frozen):
    """What a look truly shows: its findings, every tissue of it, and whether the lesion lies in it."""

    findings: Findings
    tissues: tuple[Tissue, ...]
    lesion: bool


def ground(report: Report, phantom: Phantom, truth: PhantomTruth) -> Grounding:
    """Every supported claim on what is seen, the model's or code's, beside the truth of its looks."""
    by_id = {e.id: e for e in report.evidence}
    claims = claims_shown = looks = looks_shown = 0
    for claim in report.claims:
        if not speaks_of_tissue(claim) or not statement(claim.text):
            continue
        cited = [_true_look(by_id[i], phantom, truth) for i in claim.evidence]
        claims, claims_shown = claims + 1, claims_shown + all_shown(claim.text, cited)
        looks, looks_shown = looks + len(cited), looks_shown + sum(shows(claim.text, c) for c in cited)
    return Grounding(claims=claims, claims_shown=claims_shown, looks=looks, looks_shown=looks_shown)


def speaks_of_tissue(claim: Claim) -> bool:
    """Whether a claim stands in a draft as something seen, whoever wrote it."""
    return claim.verdict == "supported" and claim.section in ("diagnosis", "microscopy")


def statement(text: str) -> dict[str, frozenset[str]]:
    """Slot of a look, or `diagnosis` → the values that a sentence names; of a list of tissues, those.

    A tumour's grade is left out: one look has nuclei, not a grade.
    """
    if tissues := listed(text):
        return {"tissue": frozenset(tissues)}
    said = {slot: named for slot, named in values(text).items() if slot in (*SLOTS, "diagnosis")}
    if "diagnosis" in said:
        return {"diagnosis": said["diagnosis"]}
    if said:
        return said
    named = frozenset(t for t in SLOTS["tissue"] if t in text)
    return {"tissue": named} if named else {}


def all_shown(text: str, cited: Sequence[TrueLook]) -> bool:
    """Whether the cited looks show a sentence: one of them all that it says; of a list, each item by one."""
    if tissues := listed(text):
        return all(any(tissue in look.tissues for look in cited) for tissue in tissues)
    return any(shows(text, look) for look in cited)


def shows(text: str, look: TrueLook) -> bool:
    """Whether one look shows all that a sentence says, of a list any item; a diagnosis by its lesion."""
    return states(statement(text), look)


def states(said: dict[str, frozenset[str]], look: TrueLook) -> bool:
    """`shows` for values by slot, of which one look must show each slot."""
    for slot, named in said.items():
        if slot == "diagnosis":
            if look.lesion == (NORMAL in named):
                return False
        elif slot == "tissue":
            if not named & set(look.tissues):
                return False
        elif getattr(look.findings, slot) not in named and not (
            "diffuse infiltrate" in named and look.findings.inflammation == "marked"
        ):
            return False
    return True


def _true_look(look: Evidence, phantom: Phantom, truth: PhantomTruth) -> TrueLook:
    r, mpp = look.region, truth.mpp
    window = (r.x * mpp, r.y * mpp, r.width * mpp, r.height * mpp)
    return TrueLook(
        findings=phantom.findings(window),
        tissues=phantom.tissues(window),
        lesion=touches_lesion(r, truth),
    )
