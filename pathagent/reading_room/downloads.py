"""A version of a report as a file: JSON, a page, Markdown, QuPath's GeoJSON, Word or PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pathagent.reading_room import synthetic
from pathagent.reading_room.documents import report_docx, report_pdf
from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import CaseRow, VersionRow
from pathagent.report import Overview, write_run
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Report

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import Image
    from pathagent_tools.slides import Slide

KINDS: Final = {
    "json": ("report.json", "application/json"),
    "html": ("report.html", "text/html; charset=utf-8"),
    "md": ("report.md", "text/markdown; charset=utf-8"),
    "geojson": ("evidence.geojson", "application/geo+json"),
    "pdf": ("report.pdf", "application/pdf"),
    "docx": ("report.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
}
"""Ending → (file in the folder of a report, media type)."""
_OVERVIEW_PX: Final = 1400


def make(room: Room, row: CaseRow, version: VersionRow, kind: str) -> tuple[bytes, str]:
    """(bytes, media type). The folder of a version is written when it is first asked for."""
    name, media = KINDS[kind]
    if kind == "json":
        return Report.model_validate(version.report).model_dump_json(indent=2).encode() + b"\n", media
    folder = room.case_folder(row.id) / "versions" / f"{version.number}"
    if not (folder / "report.json").is_file():
        _write(room, row, version, folder)
    if kind == "pdf":
        identity = f"Case {row.id}, version {version.number}, {version.status}"
        return report_pdf(Report.model_validate(version.report), folder, identity), media
    if kind == "docx":
        return report_docx(Report.model_validate(version.report), folder / "evidence"), media
    return (folder / name).read_bytes(), media


def _write(room: Room, row: CaseRow, version: VersionRow, folder: Path) -> None:
    """The folder of a version, as a run of `pathagent report` leaves it. SlideError where a slide is gone."""
    report = Report.model_validate(version.report)
    slides = {f"S{i + 1}": room.library.open(s, row.mpp) for i, s in enumerate(row.slides)}
    write_run(
        folder,
        report,
        evidence_images={e.id: _pixels(slides[e.region.slide], e.region) for e in report.evidence},
        overviews={name: Overview(*slide.thumbnail(_OVERVIEW_PX)) for name, slide in slides.items()},
        bounds={name: slide.bounds[:2] for name, slide in slides.items()},
        illustrations=synthetic.marked(room, row, version),
        run={"run": report.provenance.get("run", ""), "version": version.number},
        force=True,
    )


def _pixels(slide: Slide, region: Region) -> Image:
    return slide.read(region.model_copy(update={"slide": slide.id}))
