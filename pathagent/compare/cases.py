"""Slides of the user's case index that are like the slides of a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pathagent.rules.legality import quote
from pathagent_tools.core.compare import SimilarCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pathagent_tools.encoders.case_index import CaseHit, CaseIndex

MOST: Final = 3
"""Similar cases that a report shows."""


def similar_cases(
    index: CaseIndex, slides: Mapping[str, tuple[str, NDArray[np.float32]]], *, most: int = MOST
) -> list[SimilarCase]:
    """The likest indexed slides, likest first, each once; the case's own slides are left out.

    slides: slide id → (digest of its file, its embedding [D], made as those of the index are).
    """
    own = {digest for digest, _ in slides.values()}
    best: dict[str, tuple[str, CaseHit]] = {}
    for slide, (_, vector) in slides.items():
        for hit in index.similar_cases(vector, most + len(own)):
            known = best.get(hit.case.slide_digest)
            if hit.case.slide_digest not in own and (known is None or known[1].likeness < hit.likeness):
                best[hit.case.slide_digest] = (slide, hit)
    likest = sorted(best.values(), key=lambda found: (-found[1].likeness, found[1].case.name))[:most]
    return [
        SimilarCase(
            id=f"N{number}",
            slide=slide,
            name=hit.case.name,
            slide_digest=hit.case.slide_digest,
            text=quote(hit.case.text),
            likeness=round(hit.likeness, 4),
        )
        for number, (slide, hit) in enumerate(likest, 1)
    ]
