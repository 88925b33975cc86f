"""How large the lesion is: measured by code, from the looks that show it outwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pathagent.agents.finish import EXPLAINS
from pathagent.open_slide import OpenSlide
from pathagent.resources import Resources
from pathagent_tools.core.records import Evidence, Findings

MAX_CITES: Final = 4
_NEOPLASTIC: Final = ("invasive tumour", "dysplastic epithelium")


def extent_claims(
    resources: Resources, described: Sequence[Evidence], diagnosis: str
) -> list[dict[str, Any]]:
    """Per slide with looks at a neoplasm, one claim that says how far it goes; none without a tissue map.

    A look that the drafted diagnosis does not explain starts no lesion: beside a benign one it is a limit.
    Inflammation has no edge that a map of tissues could find: its extent is not stated.
    """
    from pathagent_tools.encoders.tissue_map import head_of

    if head_of(resources.encoder) is None:
        return []
    claims = []
    for slide in dict.fromkeys(e.region.slide for e in described):
        shown = [e for e in described if e.region.slide == slide and _shows(e.findings, diagnosis)]
        if shown and (claim := _claim(resources.slide(slide), shown)):
            claims.append(claim)
    return claims


def _shows(found: Findings | None, diagnosis: str) -> bool:
    return found is not None and found.tissue in EXPLAINS.get(diagnosis, _NEOPLASTIC)


def _claim(opened: OpenSlide, shown: Sequence[Evidence]) -> dict[str, Any] | None:
    found = opened.lesion_extent(_tissues(shown), [e.region for e in shown])
    if found is None:
        return None
    how = "" if found.whole else "at least "
    mm = f"{float(f'{found.diameter_mm:.2g}'):g}"
    assumed = "; resolution assumed by user" if opened.slide.resolution_assumed else ""
    return {
        "section": "microscopy",
        "text": f"The lesion is {how}about {mm} mm across (as a circle of the area that "
        f"the tissue map gives it{assumed}).",
        "evidence": tuple(e.id for e in shown)[:MAX_CITES],
        "verdict": "supported",
        "written_by": "rule",
        "slide": opened.slide.id,
    }


def _tissues(shown: Sequence[Evidence]) -> tuple[str, ...]:
    """What belongs to the lesion: what most looks show; in a tumour its necrosis, and mucin in its pools."""
    found = [e.findings for e in shown if e.findings]
    kinds: list[str] = [f.tissue for f in found]
    main = max(_NEOPLASTIC, key=kinds.count)
    if main != "invasive tumour":
        return (main,)
    mucinous = any(f.architecture == "mucin pools" for f in found)
    return (main, "necrosis", "mucin") if mucinous else (main, "necrosis")
