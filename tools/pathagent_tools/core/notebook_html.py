"""A report as a fragment of HTML for a notebook's cell: what is claimed, on which looks, by whom."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathagent_tools.core.records import Claim, Report

_BOX: Final = (
    "border:1px solid #dde2ea;border-radius:10px;padding:.8rem 1.1rem;max-width:52rem;line-height:1.5"
)
_NOTE: Final = "background:#fff6dd;color:#5b3d00;padding:.2rem .6rem;border-radius:6px;font-size:.85em"
_SMALL: Final = "color:#54607a;font-size:.88em"


def report_html(report: Report) -> str:
    """Everything that a reader must see with the claims: status, outcome, verdicts, limits, the notice."""
    parts = [
        f'<p style="{_NOTE}">{escape(report.disclaimer)}</p>',
        f"<p><b>{escape(report.status.capitalize())}: {escape(report.outcome)}.</b> "
        f"{escape(report.outcome_text)}</p>",
    ]
    if report.question:
        answer = escape(report.answer or "not answered")
        parts.append(f"<p>{escape(report.question)}<br><b>{answer}</b></p>")
    if report.differential:
        lines = [f"{escape(h.text)} {h.probability:.0%}" for h in report.differential]
        parts.append(f"<p>{'; '.join(lines)}</p>")
    if report.claims:
        parts.append(f"<ul>{''.join(map(_claim, report.claims))}</ul>")
    parts += [f'<p style="{_SMALL}">{escape(limit)}</p>' for limit in report.limits]
    return f'<div style="{_BOX}">{"".join(parts)}</div>'


def _claim(claim: Claim) -> str:
    looks = f" [{', '.join(claim.evidence)}]" if claim.evidence else ""
    by = "rule" if claim.written_by == "rule" else claim.verdict
    return f'<li>{escape(claim.text)}{escape(looks)} <span style="{_SMALL}">{escape(by)}</span></li>'
