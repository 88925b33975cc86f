"""`report.md`: what the page says, for people and programs that read text."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pathagent.report import words
from pathagent.report.view import View


def report_markdown(view: View) -> str:
    """The report as Markdown; text from models and users cannot become markup, a link or an image."""
    page: str = _template().render(view=view, report=view.report, words=words)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def escape(text: object) -> str:
    """One line of plain text for Markdown, table cells included."""
    flat = " ".join(str(text).split())
    flat = re.sub(r"&(?=#?\w+;)", "&amp;", flat)  # `H&E` is text, `&lt;` would be an entity
    flat = flat.replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\`*_\[\]|!~])", r"\\\1", flat)
    flat = re.sub(r"^([#+=-])", r"\\\1", flat)
    return re.sub(r"^(\d+)([.)])(?=\s)", r"\1\\\2", flat)


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pathagent.report"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "" if value is None else value,
    )
    environment.filters["md"] = escape
    return environment.get_template("report.md.j2")
