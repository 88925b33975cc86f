"""How large the lesion is: measured by code, from the looks that show it outwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pathagent.open_slide import OpenSlide
from pathagent.resources import Resources
from pathagent.rules.benign import EXPLAINS
from pathagent_tools.core.records import Evidence, Findings
from pathagent_tools.measure.extent import Extent

MAX_CITES: Final = 4
_NEOPLASTIC: Final = ("invasive tumour", "dysplastic epithelium")


class Lesion(NamedTuple):
    """A neoplasm on one slide: how far it goes, and the looks that show it."""

    slide: OpenSlide
    shown: tuple[Evidence, ...]
    extent: Extent


def lesions_of(resources: Resources, described: Sequence[Evidence], diagnosis: str) -> list[Lesion]:
    """The neoplasm of each slide with looks at one; none without a tissue map.

    A look that the drafted diagnosis does not explain starts no lesion: beside a benign one it is a limit.
    Inflammation has no edge that a map of tissues could find.
    """
    from pathagent_tools.encoders.tissue_map import head_of

    if head_of(resources.encoder) is None:
        return []
    found = []
    for slide_id in dict.fromkeys(e.region.slide for e in described):
        shown = [e for e in described if e.region.slide == slide_id and _shows(e.findings, diagnosis)]
        slide = resources.slide(slide_id)
        extent = slide.lesion_extent(_tissues(shown), [e.region for e in shown]) if shown else None
        if extent is not None:
            found.append(Lesion(slide, tuple(shown), extent))
    return found


def _shows(found: Findings | None, diagnosis: str) -> bool:
    return found is not None and found.tissue in EXPLAINS.get(diagnosis, _NEOPLASTIC)


def extent_claim(lesion: Lesion) -> dict[str, Any]:
    """How far a lesion goes, as a claim of code's."""
    found = lesion.extent
    assumed = "resolution assumed by user" if lesion.slide.slide.resolution_assumed else ""
    claim = {
        "section": "microscopy",
        "evidence": tuple(e.id for e in lesion.shown)[:MAX_CITES],
        "written_by": "rule",
        "slide": lesion.slide.slide.id,
    }
    if not found.sharp:
        least, most = map(_mm, found.range_mm)
        text = "The lesion has no edge on the tissue map that is sharp enough for one size."
        reason = f"{least} to {most} mm across, by how much of the map is counted"
        return claim | {"text": text, "verdict": "not assessable", "reason": _joined(reason, assumed)}
    how = "" if found.whole else "at least "
    by = _joined("as a circle of the area that the tissue map gives it", assumed)
    text = f"The lesion is {how}about {_mm(found.diameter_mm)} mm across ({by})."
    return claim | {"text": text, "verdict": "supported"}


def _mm(length: float) -> str:
    """Two digits that count."""
    return f"{float(f'{length:.2g}'):g}"


def _joined(*parts: str) -> str:
    return "; ".join(p for p in parts if p)


def _tissues(shown: Sequence[Evidence]) -> tuple[str, ...]:
    """What belongs to the lesion: what most looks show; in a tumour its necrosis, and mucin in its pools."""
    found = [e.findings for e in shown if e.findings]
    kinds: list[str] = [f.tissue for f in found]
    main = max(_NEOPLASTIC, key=kinds.count)
    if main != "invasive tumour":
        return (main,)
    mucinous = any(f.architecture == "mucin pools" for f in found)
    return (main, "necrosis", "mucin") if mucinous else (main, "necrosis")
