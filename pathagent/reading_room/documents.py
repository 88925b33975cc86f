"""A report as a Word document that a laboratory can edit, and as a PDF. Both keep saying what they are."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pathagent.report import words
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Claim, Evidence, Report

SET_ASIDE: Final = "Set aside: written by the model, not supported by its evidence"
_PICTURES: Final = 8
_WIDTH_CM: Final = 4.0


def report_docx(report: Report, evidence: Path) -> bytes:
    """The document. evidence: folder with `E1.png`, …: the cited looks are shown."""
    from docx import Document

    document = Document()
    document.core_properties.title = "PathAgent report"
    document.core_properties.comments = report.disclaimer
    document.sections[0].header.paragraphs[0].text = report.disclaimer
    document.add_heading(words.HEADLINES[report.outcome], level=1)
    document.add_paragraph(f"Status: {report.status}. {report.outcome_text}")
    if report.question:
        document.add_heading("Question", level=2)
        document.add_paragraph(report.question)
    for title, claims in _sections(report):
        document.add_heading(title, level=2)
        for claim in claims:
            _claim(document, claim)
    _limits(document, report)
    _compare(document, report)
    _pictures(document, report, evidence)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _claim(document: Any, claim: Claim) -> None:
    paragraph = document.add_paragraph(style="List Bullet")
    paragraph.add_run(f"{claim.text} ")
    paragraph.add_run(_told(claim)).italic = True


def _told(claim: Claim) -> str:
    """What stands behind a claim, in one line."""
    cited = f"[{', '.join(claim.evidence)}] " if claim.evidence else ""
    told = f"{cited}{words.VERDICTS[claim.verdict]}; written by {claim.written_by}."
    return f"{told} {words.capital(claim.reason)}." if claim.reason else told


def _limits(document: Any, report: Report) -> None:
    if report.limits:
        document.add_heading("Limits", level=2)
    for limit in report.limits:
        document.add_paragraph(limit, style="List Bullet")


def _compare(document: Any, report: Report) -> None:
    """Passages and cases of the user's, under the words that say what they are not."""
    if report.compare is None:
        return
    document.add_heading(words.COMPARE, level=2)
    document.add_paragraph(report.compare.note)
    for item in report.compare.items:
        paragraph = document.add_paragraph(style="List Bullet")
        paragraph.add_run(f"{item.id} {item.text} ")
        paragraph.add_run(f"{words.source_of(item)}.").italic = True
    for said in report.compare.said:
        document.add_paragraph(said)


def _pictures(document: Any, report: Report, evidence: Path) -> None:
    """The looks that claims cite, with where each lies."""
    from docx.shared import Cm

    shown = _cited(report, evidence)
    if shown:
        document.add_heading("Evidence", level=2)
    for look in shown:
        document.add_picture(str(evidence / f"{look.id}.png"), width=Cm(_WIDTH_CM))
        document.add_paragraph(f"{look.id} ({look.region.slide}, {look.place}): {words.seen(look)}")


def _cited(report: Report, evidence: Path) -> list[Evidence]:
    """The looks that claims cite and whose picture is there, at most eight."""
    cited = [e for e in report.evidence if any(e.id in c.evidence for c in report.claims)]
    return [e for e in cited if (evidence / f"{e.id}.png").is_file()][:_PICTURES]


def report_pdf(report: Report, folder: Path, identity: str) -> bytes:
    """The document as PDF/A-2b, set by Typst. folder: that of the report, with `evidence/E1.png`, ….
    identity: what the foot of each page says. UserError where Typst is not installed."""
    try:
        import typst
    except ModuleNotFoundError:
        raise UserError("PDF needs one more package on the server. Type: uv sync --extra pdf") from None
    said = {
        "disclaimer": report.disclaimer,
        "status": report.status,
        "headline": words.HEADLINES[report.outcome],
        "outcome_text": report.outcome_text,
        "question": report.question,
        "identity": identity,
        "sections": [
            {"title": title, "claims": [{"text": c.text, "told": _told(c)} for c in claims]}
            for title, claims in _sections(report)
        ],
        "limits": list(report.limits),
        "compare": _compared(report),
        "pictures": [
            {
                "id": e.id,
                "file": f"/evidence/{e.id}.png",
                "text": f"{words.seen(e)} ({e.region.slide}, {e.place})",
            }
            for e in _cited(report, folder / "evidence")
        ],
    }
    template = (files("pathagent.reading_room") / "templates" / "report.typ").read_bytes()
    compiled: Any = typst.compile  # its stub wants one type for bytes and folder
    made: bytes = compiled(
        template,
        root=str(folder),
        sys_inputs={"report": json.dumps(said)},
        ignore_system_fonts=True,
        pdf_standards="a-2b",
    )
    return made


def _compared(report: Report) -> dict[str, Any] | None:
    if report.compare is None:
        return None
    return {
        "title": words.COMPARE,
        "note": report.compare.note,
        "items": [
            {"text": f"{item.id} {item.text}", "told": f"{words.source_of(item)}."}
            for item in report.compare.items
        ],
        "said": list(report.compare.said),
    }


def _sections(report: Report) -> list[tuple[str, list[Claim]]]:
    """(title, claims) in the order of a report; model's claims without support stand apart, at the end."""
    stands = [c for c in report.claims if c.verdict == "supported" or c.written_by == "rule"]
    found = [(title, [c for c in stands if c.section == key]) for key, title in words.SECTIONS.items()]
    found.append((SET_ASIDE, [c for c in report.claims if c not in stands]))
    return [(title, claims) for title, claims in found if claims]
