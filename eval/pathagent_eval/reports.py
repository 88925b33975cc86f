"""Whole reports on phantoms: the slide alone goes in, the truth is opened after the report is out."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pathagent_eval.lesions import looked_at, on_background
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.records import Report
from pathagent_tools.core.scoring import facts
from pathagent_tools.core.scoring.classes import bootstrap

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import SlideEncoder, VisionLanguageModel
    from pathagent_tools.phantom.truth import PhantomTruth

Size = Literal["small", "standard"]
FIRST_SEED = 70_000_000
"""Evaluation slides start here; no recipe draws seeds from this range."""


class CaseScore(Frozen):
    """One phantom: what was true, what the report said, and what it cost."""

    seed: int
    size: str
    held_out_scanner: bool
    truth: str
    truth_grade: str
    said: str | None
    outcome: str
    lesion_percent: float
    lesion_looked_at: bool | None
    fact_recall: float
    facts: dict[str, str]
    claims: int
    claims_resolved: int
    evidence: int
    evidence_on_background: int
    seconds: float

    @property
    def verdict(self) -> str:
        """`right`, `wrong` or `abstained`, by diagnosis family."""
        if self.said is None:
            return "abstained"
        return "right" if self.said == self.truth else "wrong"


def make_case(seed: int, size: Size, folder: Path, *, held_out: bool) -> tuple[Path, PhantomTruth]:
    """Render one phantom; returns (a copy of the slide alone in an empty folder, its truth)."""
    from pathagent_tools.phantom.slide import write_slide
    from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT, SCANNERS_TRAIN
    from pathagent_tools.phantom.truth import PhantomTruth
    from pathagent_tools.phantom.world import make_phantom

    scanners = SCANNERS_HELD_OUT if held_out else SCANNERS_TRAIN
    phantom = make_phantom(seed, size, scanner=scanners[seed % len(scanners)].name)
    made = write_slide(phantom, folder / "made", name="slide")
    alone = folder / "alone" / "case.tiff"
    alone.parent.mkdir(parents=True)
    truth = PhantomTruth.model_validate_json((made.parent / "truth.json").read_text())
    shutil.move(made, alone)
    return alone, truth


def said_diagnosis(report: Report) -> str | None:
    """The family that the draft asserts, None where it abstains."""
    if report.outcome != "report" or not report.differential:
        return None
    return report.differential[0].diagnosis


def score_case(
    report: Report, truth: PhantomTruth, *, seed: int, size: Size, held_out: bool, seconds: float
) -> CaseScore:
    """Compare a finished report with the truth."""
    text = "\n".join(c.text for c in report.claims if c.verdict != "contradicted")
    found = facts.extract(text)
    reference = {
        k: v
        for k, v in truth.facts.model_dump().items()
        if k in facts.FACT_SLOTS and (k, v) != ("grade", "none")
    }
    ids = {e.id for e in report.evidence}
    cited = [c for c in report.claims if c.verdict == "supported" or c.evidence]
    return CaseScore(
        seed=seed,
        size=size,
        held_out_scanner=held_out,
        truth=truth.diagnosis,
        truth_grade=truth.grade,
        said=said_diagnosis(report),
        outcome=report.outcome,
        lesion_percent=100 * truth.lesion_fraction,
        lesion_looked_at=looked_at(report, truth),
        fact_recall=facts.recall(found, reference),
        facts=facts.compare(found, reference),
        claims=len(cited),
        claims_resolved=sum(set(c.evidence) <= ids for c in cited),
        evidence=len(report.evidence),
        evidence_on_background=sum(on_background(e.region, truth) for e in report.evidence),
        seconds=round(seconds, 1),
    )


def run(
    plan: Sequence[tuple[int, Size]], work: Path, *, blank: bool = False, keep: Path | None = None
) -> Iterator[CaseScore]:
    """Score every (seed, size) of the plan; odd positions come from held-out scanners."""
    import pathagent

    vlm, encoder = models(blank=blank)
    for i, (seed, size) in enumerate(plan):
        held_out = bool(i % 2)
        folder = work / f"{size}-{i:03d}"
        slide, truth = make_case(seed, size, folder, held_out=held_out)
        out = (keep / f"{size}-{i:03d}") if keep else folder / "report"
        started = time.monotonic()
        report = pathagent.draft_report(slide, out=out, force=True, vlm=vlm, encoder=encoder)
        seconds = time.monotonic() - started
        yield score_case(report, truth, seed=seed, size=size, held_out=held_out, seconds=seconds)
        shutil.rmtree(folder)


def models(*, blank: bool = False) -> tuple[VisionLanguageModel, SlideEncoder]:
    """The embedded models, loaded once for many runs; `blank` hides every image from the VLM."""
    from pathagent_eval.controls import BlankImages
    from pathagent_tools.encoders.registry import load_encoder
    from pathagent_tools.vlm.profile import load_profile, open_vlm

    profile = load_profile("embedded")
    vlm = open_vlm(profile)
    return BlankImages(vlm) if blank else vlm, load_encoder(profile.encoder)


def summary(scores: Sequence[CaseScore]) -> dict[str, Any]:
    """The table of the issue: rates with intervals clustered by slide, and the floors beside them."""
    names = [s.seed for s in scores]

    def rate(values: Sequence[float]) -> str:
        return str(bootstrap([float(v) for v in values], names[: len(values)]))

    small = [s for s in scores if s.lesion_looked_at is not None and s.lesion_percent < 1]
    lesions = [s for s in scores if s.lesion_looked_at is not None]
    majority = Counter(s.truth for s in scores).most_common(1)[0]
    return {
        "n": len(scores),
        "right": rate([s.verdict == "right" for s in scores]),
        "wrong": rate([s.verdict == "wrong" for s in scores]),
        "abstained": rate([s.verdict == "abstained" for s in scores]),
        "right_held_out_scanners": rate([s.verdict == "right" for s in scores if s.held_out_scanner]),
        "lesions_below_1_percent_looked_at": rate([bool(s.lesion_looked_at) for s in small])
        if small
        else "none",
        "lesions_looked_at": rate([bool(s.lesion_looked_at) for s in lesions]) if lesions else "none",
        "fact_recall": rate([s.fact_recall for s in scores]),
        "claims_with_resolvable_evidence": _of(scores, "claims_resolved", "claims"),
        "evidence_on_background": _of(scores, "evidence_on_background", "evidence"),
        "seconds_median": sorted(s.seconds for s in scores)[len(scores) // 2],
        "majority_class": f"{majority[1] / len(scores):.3f} ({majority[0]})",
        "always_abstain": "0.000",
    }


def _of(scores: Sequence[CaseScore], part: str, whole: str) -> str:
    return f"{sum(getattr(s, part) for s in scores)} of {sum(getattr(s, whole) for s in scores)}"


def plan(small: int, standard: int, *, first_seed: int = FIRST_SEED) -> list[tuple[int, Size]]:
    """Seeds and sizes of an evaluation."""
    sizes: list[Size] = ["small" for _ in range(small)]
    sizes += ["standard" for _ in range(standard)]
    return [(first_seed + i, size) for i, size in enumerate(sizes)]
