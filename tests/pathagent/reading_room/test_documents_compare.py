"""Word and PDF show what a draft is compared with, under the words that say what it is not."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path

import docx
import report_cases

from pathagent.reading_room.documents import report_docx, report_pdf
from pathagent_tools.core.compare import NOT_EVIDENCE


def test_the_word_document_has_the_section(tmp_path: Path) -> None:
    said = paragraphs(report_docx(report_cases.compared().report, tmp_path))
    start = said.index("Compare")
    assert said[start + 1] == NOT_EVIDENCE
    assert said[start + 2].startswith("P1 Invasion through the muscularis mucosae.")
    assert "colon/criteria.md, line 12, under “Colon › Adenocarcinoma”" in said[start + 2]
    assert said[start + 3].startswith("N1 Adenoma, 2019 older.tiff; like S1 (cosine 0.912)")
    assert "Compare" not in paragraphs(report_docx(report_cases.carcinoma().report, tmp_path))


def test_the_pdf_has_the_section(tmp_path: Path) -> None:
    compared = report_pdf(report_cases.compared().report, tmp_path, "case")
    plain = report_pdf(report_cases.carcinoma().report, tmp_path, "case")
    assert b"Compare" in streams(compared) and b"Compare" not in streams(plain)
    assert len(compared) > len(plain) + 500


def paragraphs(document: bytes) -> list[str]:
    return [p.text for p in docx.Document(io.BytesIO(document)).paragraphs]


def streams(pdf: bytes) -> bytes:
    """The bytes of a PDF and what its compressed parts hold, the outline with its headings among them."""
    packed = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return pdf + b"".join(zlib.decompressobj().decompress(p) for p in packed if p[:1] == b"x")
