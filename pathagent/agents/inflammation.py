"""How inflamed a lesion is, or tissue without one: lymphocytes are counted by code, not by the model.

A look shows a little of a lesion, and inflammation is patchy: looks at one lesion differ, and what a model
writes of them is one of several answers. The count is of the whole lesion, or of tissue all over the slide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pathagent.agents.extent import Lesion
from pathagent.open_slide import OpenSlide
from pathagent.resources import Resources
from pathagent.rules.benign import EXPLAINS
from pathagent_tools.core.records import Claim, Evidence
from pathagent_tools.core.vocabulary import inflammation_of
from pathagent_tools.measure.lymphocytes import DENSITY, Density

MAX_CITES: Final = 4
NORMAL: Final = "no significant abnormality"
INFLAMED: Final = "chronic inflammation"
INFLAMED_FROM_PER_MM2: Final = 750.0
"""From so many lymphocytes per mm² of all its tissue on, a phantom without another lesion is inflamed."""


def inflammation_claims(
    resources: Resources, described: Sequence[Evidence], diagnosis: str, lesions: Sequence[Lesion]
) -> list[dict[str, Any]]:
    """Per slide the degree of inflammation that a count gives its neoplasm, or its tissue without a lesion.

    None where nothing counts lymphocytes, and of another diagnosis: how marked an inflammation is that is
    itself the diagnosis, is the model's to say.
    """
    claims = []
    if diagnosis == NORMAL:
        for slide_id in dict.fromkeys(e.region.slide for e in described):
            slide = resources.slide(slide_id)
            looks = [e for e in described if e.region.slide == slide_id]
            claims.append(_claim(slide, slide.lymphocytes(), looks, "tissue"))
    elif EXPLAINS.get(diagnosis) != frozenset():
        for lesion in lesions:
            counted = lesion.slide.lymphocytes(lesion.extent.cells)
            claims.append(_claim(lesion.slide, counted, lesion.shown, "the lesion"))
    return [claim for claim in claims if claim is not None]


def counted_against(resources: Resources, slides: Sequence[str], diagnosis: str) -> str:
    """What a count says against a diagnosis that lives by it; empty where it agrees or nothing was counted.

    A chronic inflammation needs a slide whose tissue holds enough lymphocytes, and a normal case none.
    """
    if diagnosis not in (NORMAL, INFLAMED):
        return ""
    found = [c.per_mm2 for s in slides if (c := resources.slide(s).lymphocytes()) is not None]
    inflamed = max(found, default=0.0) >= INFLAMED_FROM_PER_MM2
    if not found or inflamed is (diagnosis == INFLAMED):
        return ""
    side = "at least" if inflamed else "fewer than"
    return (
        f"about {_rounded(max(found))} lymphocytes per mm² of tissue are counted; "
        f"{side} {INFLAMED_FROM_PER_MM2:.0f} speak against it"
    )


def is_count(claim: Claim) -> bool:
    """Whether a claim is of `inflammation_claims`: none stands beside a diagnosis that it refutes."""
    return claim.written_by == "rule" and "lymphocytes per mm²" in claim.text


def _rounded(per_mm2: float) -> str:
    return f"{float(f'{per_mm2:.2g}'):,.0f}"


def _claim(
    opened: OpenSlide, counted: Density | None, looks: Sequence[Evidence], where: str
) -> dict[str, Any] | None:
    if counted is None:
        return None
    word = inflammation_of(counted.per_mm2)
    said = "Inflammation is not seen" if word == "none" else f"Inflammation is {word}"
    assumed = "; resolution assumed by user" if opened.slide.resolution_assumed else ""
    return {
        "section": "microscopy",
        "text": f"{said}: about {_rounded(counted.per_mm2)} lymphocytes per mm² of {where} "
        f"({counted.mm2:.2g} mm² counted{assumed}).",
        "evidence": _cites(looks, counted.per_mm2),
        "verdict": "supported",
        "written_by": "rule",
        "slide": opened.slide.id,
    }


def _cites(looks: Sequence[Evidence], per_mm2: float) -> tuple[str, ...]:
    """Looks that show the same degree, else the one that is nearest to it."""
    counts = {e.id: m.value for e in looks for m in e.measurements if m.name == DENSITY}
    nearest = sorted(counts, key=lambda id_: abs(counts[id_] - per_mm2))
    alike = [id_ for id_ in nearest if inflammation_of(counts[id_]) == inflammation_of(per_mm2)]
    return tuple(alike[:MAX_CITES] or nearest[:1])
