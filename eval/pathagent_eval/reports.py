"""Whole reports on phantoms: the slide alone goes in, the truth is opened after the report is out."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from pathagent.batches.work import report_text
from pathagent_eval.grounding import Grounding, ground
from pathagent_eval.lesions import looked_at, on_background
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.records import Report
from pathagent_tools.core.scoring.report import Counts, compare
from pathagent_tools.core.scoring.resampling import bootstrap
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.phantom.reports import reference_report, wording_count
from pathagent_tools.phantom.true_facts import stated_facts, true_facts

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import SlideEncoder, VisionLanguageModel
    from pathagent_tools.phantom.truth import PhantomTruth
    from pathagent_tools.phantom.world import Phantom

Size = Literal["small", "standard"]
FIRST_SEED = 72_000_000
"""Evaluation slides start here; no recipe draws seeds from this range, and no report of it was read while
the graph was mended (those were 70,000,000 and 71,000,000 on)."""
NO_NEOPLASM = ("no significant abnormality", "chronic inflammation")
TINY_MM = (0.2, 0.3)
"""Diameter of a tiny lesion: mostly less than 1 % of a standard slide's tissue (the table says which)."""


class Planned(Frozen):
    """One phantom of an evaluation. `tiny`: a neoplasm of `TINY_MM`, else whatever the seed draws."""

    seed: int
    size: Size
    held_out_scanner: bool
    tiny: bool = False

    def phantom(self) -> Phantom:
        """The world of this slide, planned but not painted."""
        from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT, SCANNERS_TRAIN
        from pathagent_tools.phantom.world import make_phantom

        scanners = SCANNERS_HELD_OUT if self.held_out_scanner else SCANNERS_TRAIN
        scanner = scanners[self.seed % len(scanners)].name
        if not self.tiny:
            return make_phantom(self.seed, self.size, scanner=scanner)
        rng = Random(f"tiny-{self.seed}")
        family = rng.choice([d for d in DIAGNOSES if d not in NO_NEOPLASM])
        return make_phantom(
            self.seed, self.size, scanner=scanner, diagnosis=family, lesion_mm=rng.uniform(*TINY_MM)
        )


class CaseScore(Frozen):
    """One phantom: what was true, what the report said, and what it cost."""

    seed: int
    size: str
    held_out_scanner: bool
    tiny: bool
    truth: str
    truth_grade: str
    said: str | None
    outcome: str
    text: str
    reference: str
    lesion_percent: float
    lesion_looked_at: bool | None
    fact_recall: float
    fact_precision: float
    facts: dict[str, str]
    claims: int
    claims_resolved: int
    grounding: Grounding
    evidence: int
    evidence_on_background: int
    seconds: float

    @property
    def verdict(self) -> str:
        """`right`, `wrong` or `abstained`, by diagnosis family."""
        if self.said is None:
            return "abstained"
        return "right" if self.said == self.truth else "wrong"


def case_name(planned: Planned | CaseScore) -> str:
    """`small-73000000`."""
    return f"{planned.size}-{planned.seed}"


def make_case(planned: Planned, folder: Path) -> tuple[Path, Phantom, PhantomTruth]:
    """Render one phantom; returns (a copy of the slide alone in an empty folder, its world, its truth).

    What an evaluation that was stopped left in `folder` is replaced.
    """
    from pathagent_tools.phantom.slide import write_slide
    from pathagent_tools.phantom.truth import PhantomTruth

    shutil.rmtree(folder, ignore_errors=True)
    phantom = planned.phantom()
    made = write_slide(phantom, folder / "made", name="slide")
    alone = folder / "alone" / "case.tiff"
    alone.parent.mkdir(parents=True)
    truth = PhantomTruth.model_validate_json((made.parent / "truth.json").read_text())
    shutil.move(made, alone)
    return alone, phantom, truth


def said_diagnosis(report: Report) -> str | None:
    """The family that the draft asserts, None where it abstains."""
    if report.outcome != "report" or not report.differential:
        return None
    return report.differential[0].diagnosis


def score_case(
    report: Report, planned: Planned, phantom: Phantom, truth: PhantomTruth, *, seconds: float
) -> CaseScore:
    """Compare a finished report with the truth."""
    text = "\n".join(c.text for c in report.claims if c.stands)
    compared = compare(stated_facts(text), true_facts(truth.facts))
    ids = {e.id for e in report.evidence}
    cited = [c for c in report.claims if c.verdict == "supported" or c.evidence]
    return CaseScore(
        **planned.model_dump(),
        truth=truth.diagnosis,
        truth_grade=truth.grade,
        said=said_diagnosis(report),
        outcome=report.outcome,
        text=report_text(report),
        reference=reference_report(truth, planned.seed % wording_count())["text"],
        lesion_percent=100 * truth.lesion_fraction,
        lesion_looked_at=looked_at(report, truth),
        fact_recall=compared.all.recall,
        fact_precision=compared.all.precision,
        facts={slot: _said(counts) for slot, counts in compared.slots.items() if counts.wanted},
        claims=len(cited),
        claims_resolved=sum(set(c.evidence) <= ids for c in cited),
        grounding=ground(report, phantom, truth),
        evidence=len(report.evidence),
        evidence_on_background=sum(on_background(e.region, truth) for e in report.evidence),
        seconds=round(seconds, 1),
    )


def _said(counts: Counts) -> str:
    """`right`, `wrong` or `omitted`: what became of a slot of the truth."""
    return "right" if counts.right else "wrong" if counts.said else "omitted"


def run(
    plan: Sequence[Planned], work: Path, *, blank: bool = False, keep: Path | None = None
) -> Iterator[CaseScore]:
    """Score every slide of the plan."""
    import pathagent

    vlm, encoder = models(blank=blank)
    for planned in plan:
        name = case_name(planned)
        slide, phantom, truth = make_case(planned, work / name)
        out = (keep / name) if keep else work / name / "report"
        started = time.monotonic()
        report = pathagent.draft_report(slide, out=out, force=True, vlm=vlm, encoder=encoder)
        yield score_case(report, planned, phantom, truth, seconds=time.monotonic() - started)
        shutil.rmtree(work / name)


def models(*, blank: bool = False) -> tuple[VisionLanguageModel, SlideEncoder]:
    """The embedded models, loaded once for many runs; `blank` hides every image from the VLM."""
    from pathagent_eval.controls import BlankImages
    from pathagent_tools.encoders.registry import load_encoder
    from pathagent_tools.vlm.profile import load_profile, open_vlm

    profile = load_profile("embedded")
    vlm = open_vlm(profile)
    return BlankImages(vlm) if blank else vlm, load_encoder(profile.encoder)


def texts(scores: Sequence[CaseScore]) -> dict[str, list[dict[str, str]]]:
    """`predictions` and `references`, as `pathagent eval score` reads them."""
    return {
        "predictions": [
            {"case": case_name(s), "text": s.text, "status": "report" if s.text else "abstained"}
            for s in scores
        ],
        "references": [{"case": case_name(s), "reference": s.reference} for s in scores],
    }


def summary(scores: Sequence[CaseScore]) -> dict[str, Any]:
    """Rates of the drawn slides, intervals clustered by slide; tiny lesions have a table of their own."""
    drawn, tiny = [s for s in scores if not s.tiny], [s for s in scores if s.tiny]
    table = _table(drawn) if drawn else {}
    return table | ({"tiny_lesions": _table(tiny)} if tiny else {})


def _table(scores: Sequence[CaseScore]) -> dict[str, Any]:
    def rate(of: Sequence[CaseScore], value: Callable[[CaseScore], float]) -> str:
        return str(bootstrap([float(value(s)) for s in of], [s.seed for s in of])) if of else "none"

    lesions = [s for s in scores if s.lesion_looked_at is not None]
    majority = Counter(s.truth for s in scores).most_common(1)[0]
    return {
        "n": len(scores),
        "right": rate(scores, lambda s: s.verdict == "right"),
        "wrong": rate(scores, lambda s: s.verdict == "wrong"),
        "abstained": rate(scores, lambda s: s.verdict == "abstained"),
        "right_held_out_scanners": rate(
            [s for s in scores if s.held_out_scanner], lambda s: s.verdict == "right"
        ),
        "lesion_percent_median": round(median(s.lesion_percent for s in lesions), 3) if lesions else "none",
        "lesions_looked_at": rate(lesions, lambda s: bool(s.lesion_looked_at)),
        "lesions_below_1_percent_looked_at": rate(
            [s for s in lesions if s.lesion_percent < 1], lambda s: bool(s.lesion_looked_at)
        ),
        "fact_recall": rate(scores, lambda s: s.fact_recall),
        "fact_precision": rate(scores, lambda s: s.fact_precision),
        "claims_with_resolvable_evidence": _of(scores, "claims_resolved", "claims"),
        "claims_that_a_cited_look_shows": _grounded(scores, "claims_shown", "claims"),
        "cited_looks_that_show_the_claim": _grounded(scores, "looks_shown", "looks"),
        "evidence_on_background": _of(scores, "evidence_on_background", "evidence"),
        "seconds_median": median(s.seconds for s in scores),
        "majority_class": f"{majority[1] / len(scores):.3f} ({majority[0]})",
        "always_abstain": "0.000",
    }


def _grounded(scores: Sequence[CaseScore], part: str, whole: str) -> str:
    found = [s.grounding for s in scores]
    return f"{sum(getattr(g, part) for g in found)} of {sum(getattr(g, whole) for g in found)}"


def _of(scores: Sequence[CaseScore], part: str, whole: str) -> str:
    return f"{sum(getattr(s, part) for s in scores)} of {sum(getattr(s, whole) for s in scores)}"


def plan(small: int, standard: int, tiny: int = 0, *, first_seed: int = FIRST_SEED) -> list[Planned]:
    """The slides of an evaluation, every second one from a held-out scanner."""
    sizes: list[Size] = ["small" for _ in range(small)]
    sizes += ["standard" for _ in range(standard + tiny)]
    return [
        Planned(
            seed=first_seed + i,
            size=size,
            held_out_scanner=bool(i % 2),
            tiny=i >= small + standard,
        )
        for i, size in enumerate(sizes)
    ]
