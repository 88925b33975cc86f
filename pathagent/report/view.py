"""A report as a page shows it: sizes in µm, boxes in pixels of the overview, claims with their looks.

Adds no statement of its own: all words come from the report or from `words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pathagent.report import words
from pathagent.report.figures import Box, Map, Overview, ScaleBar, map_of, scale_bar
from pathagent.report.labels import place_labels
from pathagent.report.tile_map import TileMap, heat_over
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import (
    Candidate,
    Claim,
    Coverage,
    Evidence,
    Measurement,
    Report,
    SlideRecord,
)
from pathagent_tools.core.synthetic import SyntheticImage

_LABEL: Final = 0.042
_SMALLEST_BOX: Final = 0.014
_MORPHOLOGY: Final = ("report", "insufficient evidence")


@dataclass(frozen=True, slots=True)
class Pin:
    """A box on an overview with the spot of its number."""

    id: str
    title: str
    box: Box
    label: Box
    looked: bool


@dataclass(frozen=True, slots=True)
class Field:
    """One look, ready to be shown."""

    look: Evidence
    image: Image
    title: str
    width_um: float
    height_um: float
    bar: ScaleBar
    findings: tuple[tuple[str, str], ...]
    cited_by: tuple[str, ...]
    box: Box

    @property
    def field(self) -> str:
        """`192 × 192 µm`."""
        return f"{self.width_um:.0f} × {self.height_um:.0f} µm"


@dataclass(frozen=True, slots=True)
class SlideView:
    """One slide: its map with pins, and what is known of it."""

    record: SlideRecord
    map: Map
    pins: tuple[Pin, ...]
    bar: ScaleBar
    label_px: float
    regions: tuple[Candidate, ...]
    measurements: tuple[Measurement, ...]
    coverage: Coverage | None
    heat: Image | None = None
    heat_title: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the map in its pixels."""
        return self.map.rgb.shape[1], self.map.rgb.shape[0]

    @property
    def size_mm(self) -> str:
        """`12.3 × 8.1 mm`: the scanned area."""
        record = self.record
        sides = (f"{side * record.mpp / 1000:.3g}" for side in (record.width, record.height))
        return f"{' × '.join(sides)} mm"


@dataclass(frozen=True, slots=True)
class ClaimView:
    """A claim with the looks that it cites, and the ids that resolve to none."""

    claim: Claim
    verdict: str
    cited: tuple[Field, ...]
    lost: tuple[str, ...]

    @property
    def tone(self) -> str:
        """The verdict as a style: `supported`, `not-assessable`, …, or `rule` for what code says."""
        by_code = self.claim.written_by == "rule" and self.claim.verdict == "supported"
        return "rule" if by_code else self.claim.verdict.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the page and the Markdown show, in their order."""

    report: Report
    headline: str
    meaning: str
    slides: tuple[SlideView, ...]
    fields: dict[str, Field]
    diagnosis: ClaimView | None
    answer: ClaimView | None
    kept: tuple[tuple[str, tuple[ClaimView, ...]], ...]
    set_aside: tuple[ClaimView, ...]
    basis: str
    provenance: tuple[tuple[str, str], ...]
    illustrations: tuple[tuple[SyntheticImage, bytes], ...] = ()

    def anchor(self, claim: str) -> str:
        """Where on the page a claim stands: the heads of the page have their own names."""
        if self.answer and self.report.question and claim == self.answer.claim.id:
            return "q"
        if self.diagnosis and self.report.outcome == "report" and claim == self.diagnosis.claim.id:
            return "dx"
        return claim

    @property
    def why(self) -> str:
        """The run's own sentence, without what the headline has said already."""
        return self.report.outcome_text.removeprefix("No diagnosis is drafted").lstrip(".: ")

    @property
    def named(self) -> list[Field]:
        """The looks that the run's own sentence names: what spoke against a draft is to be seen beside it."""
        return [
            self.fields[i] for i in dict.fromkeys(re.findall(r"\bE[1-9]\d*\b", self.why)) if i in self.fields
        ]

    @property
    def shows_hints(self) -> bool:
        """Whether the encoder's words for a place may be shown: only where its models know the tissue."""
        return self.report.outcome in _MORPHOLOGY


def view_of(
    report: Report,
    images: Mapping[str, Image],
    overviews: Mapping[str, Overview],
    tiles: Mapping[str, TileMap] | None = None,
    illustrations: Mapping[str, bytes] | None = None,
) -> View:
    """The view of a report. images: evidence id → pixels looked at. overviews: slide id → whole slide.

    tiles: slide id → what its scan saw, where that can be shown. illustrations: id → marked PNG; those that
    are not given are not shown.
    """
    drawn = illustrations or {}
    slides = tuple(
        _slide_view(record, report, overviews[record.id], (tiles or {}).get(record.id))
        for record in report.slides
    )
    maps = {s.record.id: s.map for s in slides}
    records = {s.id: s for s in report.slides}
    fields = {
        e.id: _field(e, images[e.id], records[e.region.slide], maps[e.region.slide], report)
        for e in report.evidence
    }
    claims = [_claim_view(claim, fields) for claim in report.claims]
    diagnosis = next((c for c in claims if c.claim.section == "diagnosis"), None)
    answer = next((c for c in claims if c.claim.section == "answer"), None)
    rest = [c for c in claims if c is not diagnosis and c is not answer]
    return View(
        report=report,
        headline=words.HEADLINES[report.outcome],
        meaning=words.MEANING[report.outcome],
        slides=slides,
        fields=fields,
        diagnosis=diagnosis,
        answer=answer,
        kept=_by_section([c for c in rest if c.claim.stands]),
        set_aside=tuple(c for c in rest if not c.claim.stands),
        basis=_basis(report),
        provenance=tuple(_flat(report.provenance)),
        illustrations=tuple((i, drawn[i.id]) for i in report.illustrations if i.id in drawn),
    )


def _slide_view(record: SlideRecord, report: Report, overview: Overview, tiles: TileMap | None) -> SlideView:
    looks = [e for e in report.evidence if e.region.slide == record.id]
    regions = tuple(c for c in report.regions_of_interest if c.region.slide == record.id)
    places = [(e.id, f"{e.place}: {words.seen(e)}", e.region, True) for e in looks]
    places += [(c.id, "worth a look, not looked at", c.region, False) for c in regions]
    shown = map_of(overview, [region for _, _, region, _ in places])
    height, width = shown.rgb.shape[:2]
    label_px = _LABEL * max(width, height)
    return SlideView(
        record=record,
        map=shown,
        pins=_pins(places, shown, label_px),
        bar=scale_bar(width * shown.level0_per_px * record.mpp),
        label_px=label_px,
        regions=regions,
        measurements=report.measurements.get(record.id, ()),
        coverage=next((c for c in report.coverage if c.slide == record.id), None),
        heat=heat_over(shown, tiles) if tiles else None,
        heat_title=tiles.title if tiles else "",
    )


def _pins(places: Sequence[tuple[str, str, Region, bool]], shown: Map, label_px: float) -> tuple[Pin, ...]:
    height, width = shown.rgb.shape[:2]
    boxes = [_visible(shown.box(region), _SMALLEST_BOX * max(width, height)) for _, _, region, _ in places]
    sizes = [(label_px * (0.32 + 0.62 * len(name)), label_px * 1.08) for name, _, _, _ in places]
    labels = place_labels(boxes, sizes, width=width, height=height)
    return tuple(
        Pin(name, title, box, label, looked)
        for (name, title, _, looked), box, label in zip(places, boxes, labels, strict=True)
    )


def _visible(box: Box, smallest: float) -> Box:
    """The box, grown around its centre to a size that a person can hit."""
    grow_x, grow_y = max(0.0, smallest - box.width) / 2, max(0.0, smallest - box.height) / 2
    return Box(
        x=box.x - grow_x, y=box.y - grow_y, width=box.width + 2 * grow_x, height=box.height + 2 * grow_y
    )


def _field(look: Evidence, image: Image, record: SlideRecord, shown: Map, report: Report) -> Field:
    width_um = look.region.width * record.mpp
    return Field(
        look=look,
        image=image,
        title=words.seen(look),
        width_um=width_um,
        height_um=look.region.height * record.mpp,
        bar=scale_bar(width_um),
        findings=_findings(look),
        cited_by=tuple(c.id for c in report.claims if look.id in c.evidence),
        box=shown.box(look.region),
    )


def _findings(look: Evidence) -> tuple[tuple[str, str], ...]:
    """Every slot, the ordinary ones too: `no mitoses` was looked for and is a finding."""
    if look.findings is None:
        return ()
    return tuple((label, str(getattr(look.findings, slot))) for slot, label in words.SLOT_LABELS.items())


def _claim_view(claim: Claim, fields: Mapping[str, Field]) -> ClaimView:
    return ClaimView(
        claim=claim,
        verdict=_verdict(claim),
        cited=tuple(fields[i] for i in claim.evidence if i in fields),
        lost=tuple(i for i in claim.evidence if i not in fields),
    )


def _verdict(claim: Claim) -> str:
    """What the badge says: no model judged what code computed."""
    if claim.written_by == "rule" and claim.verdict == "supported":
        return words.COMPUTED if claim.section == "measurements" else words.BY_RULE
    return words.VERDICTS[claim.verdict]


def _by_section(claims: Sequence[ClaimView]) -> tuple[tuple[str, tuple[ClaimView, ...]], ...]:
    found = (
        (title, tuple(c for c in claims if c.claim.section == key)) for key, title in words.SECTIONS.items()
    )
    return tuple((title, listed) for title, listed in found if listed)


def _basis(report: Report) -> str:
    """`12 fields looked at on 1 slide, 8.1 % of the tissue`."""
    fields = words.plural(len(report.evidence), "field")
    shares = [f"{c.looked_percent:.2g} %" for c in report.coverage if c.looks]
    of_tissue = f", {' and '.join(shares)} of the tissue" if shares else ""
    return f"{fields} looked at on {words.plural(len(report.slides), 'slide')}{of_tissue}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested provenance as rows: `vlm.revision` → its value."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            rows += _flat(item, f"{name}.")
        else:
            rows.append((name, str(item)))
    return rows
