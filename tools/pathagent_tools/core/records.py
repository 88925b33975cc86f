"""What a run produces, as small immutable records: no pixels, no tensors, only ids and numbers."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pathagent_tools.core.compare import Compared
from pathagent_tools.core.geometry import Frozen, Region
from pathagent_tools.core.synthetic import SyntheticImage
from pathagent_tools.core.vocabulary import (
    RESEARCH_USE_ONLY,
    SLOTS,
    Amount,
    Architecture,
    Artifact,
    Degree,
    Grade,
    Outcome,
    Presence,
    Stain,
    Tissue,
    Verdict,
    Writer,
)


class Findings(Frozen):
    """The structured description of one region, every slot from the closed vocabulary."""

    tissue: Tissue
    architecture: Architecture
    nuclear_grade: Grade
    mitoses: Amount
    necrosis: Presence
    inflammation: Degree
    artifact: Artifact
    stain: Stain

    def line(self) -> str:
        """How models read it: `invasive tumour, solid nests, grade high, mitoses many`.

        Slots at their ordinary value (no mitoses, no necrosis, …) are left out; stain is not a finding.
        """
        words: list[str] = [self.tissue]
        if self.architecture != "none":
            words.append(self.architecture)
        if self.nuclear_grade != "none":
            words.append(f"grade {self.nuclear_grade}")
        if self.mitoses != "none":
            words.append(f"mitoses {self.mitoses}")
        if self.necrosis == "present" and self.tissue != "necrosis":
            words.append("necrosis present")
        if self.inflammation != "none":
            words.append(f"inflammation {self.inflammation}")
        if self.artifact != "none":
            words.append(f"artifact {self.artifact}")
        return ", ".join(words)


assert tuple(Findings.model_fields) == tuple(SLOTS), "Findings and SLOTS must name the same slots"


class Measurement(Frozen):
    """A number that code measured: median with quantiles where it describes a population.

    `name` is a snake_case key (`nuclei_per_mm2`), `label` what a report prints, `unit` UCUM-like
    (`/mm2`, `um2`, `%`, `1`).
    """

    name: str
    label: str
    value: float
    unit: str
    q05: float | None = None
    q95: float | None = None
    n: int | None = None
    note: str | None = Field(default=None, description="e.g. 'resolution assumed by user'")


class MadeBy(Frozen):
    """Which tool, model revision, adapter and prompt made a record."""

    tool: str
    model: str | None = None
    revision: str | None = None
    adapter: str | None = None
    prompt_sha256: str | None = None


class Evidence(Frozen):
    """One look at a slide. Claims cite evidence by `id`; the region says where to look again."""

    id: str = Field(pattern=r"^E[1-9][0-9]*$")
    region: Region
    place: str = Field(description="where on the slide: 'upper left', 'centre', …")
    pixels_sha256: str
    findings: Findings | None = Field(description="None where no model may look (out of domain, too coarse)")
    sentence: str | None = Field(default=None, description="the describing model's own sentence")
    measurements: tuple[Measurement, ...] = ()
    confidence: float | None = Field(default=None, ge=0, le=1)
    reason: str = Field(description="why the navigation agent looked here")
    made_by: MadeBy

    def line(self) -> str:
        """`E3 invasive tumour, solid nests, … (S1 upper left)`: the form in which models read it.

        The id stands beside what it shows, so that citing it is one step.
        """
        seen = self.findings.line() if self.findings else "measured only"
        return f"{self.id} {seen} ({self.region.slide} {self.place})"


class Candidate(Frozen):
    """A place worth a look, made by tools; the model chooses among candidates by id."""

    id: str = Field(pattern=r"^K[1-9][0-9]*$")
    region: Region
    hint: str = Field(description="the encoder's best class for the tile, in its own words")
    relevance: float = Field(description="0..1, similarity to the question or the missing evidence")
    anomaly: float = Field(description="0..1, question-free")
    novelty: float = Field(description="0..1, how unlike what was already looked at")

    def line(self) -> str:
        """`K4 solid nests: relevance 8, anomaly 9, novelty 4` (tenths)."""
        return (
            f"{self.id} {self.hint}: relevance {round(10 * self.relevance)}, "
            f"anomaly {round(10 * self.anomaly)}, novelty {round(10 * self.novelty)}"
        )


class Hypothesis(Frozen):
    """One candidate diagnosis of a differential."""

    diagnosis: str
    grade: str = "none"
    probability: float = Field(ge=0, le=1)

    @property
    def text(self) -> str:
        """`adenocarcinoma, grade 2`."""
        return self.diagnosis if self.grade == "none" else f"{self.diagnosis}, {self.grade}"


class Sufficiency(Frozen):
    """The separate judgement that the evidence answers the question, or what is missing."""

    sufficient: bool
    missing: str = Field(default="", description="the missing evidence in words: the next query")


class Claim(Frozen):
    """One sentence or one synoptic field of a report, tied to its evidence."""

    id: str = Field(pattern=r"^C[1-9][0-9]*$")
    section: Literal["diagnosis", "microscopy", "measurements", "answer", "quality", "synoptic"]
    text: str
    slide: str | None = Field(default=None, description="slide id where the claim speaks of one slide")
    evidence: tuple[str, ...] = ()
    verdict: Verdict
    written_by: Writer
    confidence: float | None = Field(default=None, ge=0, le=1)
    reason: str | None = Field(default=None, description="why the verdict, in one phrase")

    @property
    def stands(self) -> bool:
        """Whether it is part of the draft: no model can have its sentence stand without support."""
        return self.verdict == "supported" or self.written_by == "rule"


class SynopticField(Frozen):
    """One required element of a structured report: filled, not assessable, or not found."""

    key: str
    label: str
    need: Literal["core", "conditional", "optional"]
    value: str
    status: Literal["filled", "not assessable", "not found"]
    evidence: tuple[str, ...] = ()
    written_by: Writer


class SlideRecord(Frozen):
    """What is known of one slide of the case (no label, no macro image, no free metadata text)."""

    id: str
    name: str = Field(description="file name as given by the user")
    digest: str = Field(description="sha256 of the file's bytes")
    vendor: str | None
    width: int
    height: int
    mpp: float
    mpp_source: str = Field(description="the metadata key, 'user' or 'csv'")
    mpp_header: float | None = None
    resolution_assumed: bool = False
    stain: str = Field(description="'H&E' or what it looks like instead")
    tissue_mm2: float
    pieces: int
    quality: tuple[str, ...] = Field(default=(), description="quality findings in words")
    in_domain: float | None = Field(default=None, description="out-of-domain score, higher = further")
    usable: bool
    outcome: Outcome = "report"


class Coverage(Frozen):
    """How much of the tissue was looked at, and at which scale."""

    slide: str
    scanned_percent: float = Field(description="tissue encoded in the question-free scan, %")
    looked_percent: float = Field(description="tissue inside the looked-at regions, %")
    looks: int


class Report(Frozen):
    """The whole draft. Everything that `report.html` shows stands here."""

    schema_version: int = 1
    disclaimer: str = RESEARCH_USE_ONLY
    status: Literal["draft", "reviewed", "rejected"] = "draft"
    outcome: Outcome
    outcome_text: str = Field(description="one sentence: what this run ended in and why")
    question: str | None = None
    answer: str | None = None
    notes: str | None = Field(default=None, description="the user's notes, quoted as given")
    slides: tuple[SlideRecord, ...]
    claims: tuple[Claim, ...]
    synoptic: tuple[SynopticField, ...] = ()
    differential: tuple[Hypothesis, ...] = ()
    sufficiency: Sufficiency | None = None
    evidence: tuple[Evidence, ...] = ()
    regions_of_interest: tuple[Candidate, ...] = ()
    measurements: dict[str, tuple[Measurement, ...]] = Field(default={}, description="by slide id")
    coverage: tuple[Coverage, ...] = ()
    limits: tuple[str, ...] = ()
    provenance: dict[str, Any] = Field(default={}, description="profile, model digests, prompt hashes, seed")
    illustrations: tuple[SyntheticImage, ...] = Field(default=(), description="drawn, marked, never evidence")
    compare: Compared | None = Field(default=None, description="given by the user, never evidence")

    @model_validator(mode="after")
    def _claims_rest_on_looks_alone(self) -> Self:
        drawn = {image.id for image in self.illustrations}
        given = {item.id for item in self.compare.items} if self.compare else set()
        cited = {i for claim in self.claims for i in claim.evidence}
        cited |= {i for element in self.synoptic for i in element.evidence}
        if wrong := sorted(drawn & cited):
            raise ValueError(f"{', '.join(wrong)} was drawn by a generator and is no evidence")
        if wrong := sorted(given & cited):
            raise ValueError(f"{', '.join(wrong)} was given to compare with and is no evidence")
        return self

    def _repr_html_(self) -> str:
        """What a notebook shows of a report."""
        from pathagent_tools.core.notebook_html import report_html

        return report_html(self)


class Review(Frozen):
    """What a human decided about a draft."""

    decision: Literal["approve", "edit", "reject"]
    edits: dict[str, str] = Field(default={}, description="claim id → new text; '' strikes the claim")
    reviewer: str = "anonymous"
    comment: str = ""
