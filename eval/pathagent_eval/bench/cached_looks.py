"""Baselines that cost one question to the model each: what it says from nothing, from the thumbnail alone,
and from the looks of a finished run with the options in another order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pathagent_eval.bench.results import SHUFFLED
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import ModelRequest
from pathagent_tools.core.records import Evidence, Findings, Hypothesis, MadeBy, Report
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE, SLOTS
from pathagent_tools.vlm import roles

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import Image, SlideEncoder, VisionLanguageModel

FIELD_UM: Final = 192.0


@dataclass(frozen=True)
class OneLook:
    """What the model makes of a single picture: the ledger, its belief, and the report that it writes."""

    evidence: tuple[Evidence, ...]
    belief: str
    text: str


@dataclass(frozen=True)
class Cached:
    """The cheap views of one slide."""

    vlm: VisionLanguageModel
    slides: str
    thumbnail: OneLook
    blind: OneLook
    embedding: list[float]

    def answers(self, question: str, options: Sequence[str], report: Report) -> dict[str, str]:
        """Floor → its answer to a question; `shuffled options` reads the looks of the run's own report."""
        turned = list(options)
        Random(question).shuffle(turned)
        looked = [e for e in report.evidence if e.findings]
        belief = roles.differential_text(report.differential)
        requests = [
            self._request("none", question, options, self.blind.belief, self.blind.evidence),
            self._request(self.slides, question, options, self.thumbnail.belief, self.thumbnail.evidence),
            self._request(self.slides, _reworded(question, turned), turned, belief, looked),
        ]
        said = [_answer(c.data) for c in self.vlm.generate(requests)]
        return dict(zip(("blind", "thumbnail only", SHUFFLED), said, strict=True))

    @staticmethod
    def _request(
        slides: str, question: str, options: Sequence[str], belief: str, seen: Sequence[Evidence]
    ) -> ModelRequest:
        ids = [e.id for e in roles.telling(seen)]
        ledger = roles.ledger_text(seen)
        return roles.answer(slides, belief, question, ledger, ids, options=options)


def cached(slide: Path, report: Report, vlm: VisionLanguageModel, encoder: SlideEncoder) -> Cached:
    """Look once at the thumbnail and once at a white field."""
    from pathagent_tools.slides import open_slide

    with open_slide(slide) as opened:
        picture, _ = opened.thumbnail(1024)
        width_um = opened.width * opened.mpp
        whole = Region(slide="S1", x=0, y=0, width=opened.width, height=opened.height, mpp=opened.mpp)
    slides = "\n".join(roles.slide_text(s.id, s.tissue_mm2, s.pieces) for s in report.slides)
    seen = _resized(picture, vlm.tile_px)
    return Cached(
        vlm=vlm,
        slides=slides,
        thumbnail=_one_look(vlm, slides, seen, width_um, whole),
        blind=_one_look(vlm, "none", np.full_like(seen, 255), FIELD_UM, whole),
        embedding=[
            round(float(v), 5) for v in encoder.encode_tiles(_resized(picture, encoder.tile_px)[None])[0]
        ],
    )


def _one_look(
    vlm: VisionLanguageModel, slides: str, picture: Image, field_um: float, region: Region
) -> OneLook:
    """Describe one picture, weigh it, and write the report of that alone."""
    data = vlm.generate([roles.describe(picture, field_um=field_um)])[0].data
    look = Evidence(
        id="E1",
        region=region,
        place="centre",
        pixels_sha256="",
        findings=Findings.model_validate({slot: data[slot] for slot in SLOTS}),
        reason="the only look",
        made_by=MadeBy(tool="describe", model=vlm.id),
    )
    ledger = roles.ledger_text([look])
    found = vlm.generate([roles.diagnose(slides, ledger)])[0].data["differential"]
    hypotheses = [
        Hypothesis(diagnosis=h["diagnosis"], grade=h["grade"], probability=h["percent"] / 100) for h in found
    ]
    belief = roles.differential_text(hypotheses)
    said = vlm.generate([roles.write(slides, belief, ledger, ["E1"])])[0].data["sentences"]
    leading = hypotheses[0].text
    lines = [f"{leading[:1].upper()}{leading[1:]}.", *(str(s["text"]) for s in said)]
    return OneLook((look,), belief, "\n".join(dict.fromkeys(lines)))


def _answer(data: dict[str, Any]) -> str:
    """The model's answer; what it declines is declined in the words of the product."""
    if data["class"] == "cannot be told from this slide":
        return NOT_ASSESSABLE
    return str(data["answer"]).strip() if data["class"] == "answered" else "insufficient evidence"


def _reworded(question: str, options: Sequence[str]) -> str:
    """The question with the options that it lists at its end in their new order."""
    return re.sub(r"\([^()]*;[^()]*\)$", f"({'; '.join(options)})", question)


def _resized(picture: Image, px: int) -> Image:
    from PIL import Image as Pillow

    return np.array(Pillow.fromarray(picture).convert("RGB").resize((px, px), Pillow.Resampling.LANCZOS))
