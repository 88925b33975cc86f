"""`report.md`: what the page says, for people and programs that read text."""

from __future__ import annotations

import re
from functools import cache
from html.entities import html5
from typing import Any, Final

from pathagent.report import words
from pathagent.report.view import View

_ENTITY: Final = re.compile(r"&#?\w+;")


def report_markdown(view: View) -> str:
    """The report as Markdown; text from models and users cannot become markup, a link or an image."""
    page: str = _template().render(view=view, report=view.report, words=words)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def escape(text: object) -> str:
    """One line of plain text for Markdown, table cells included."""
    flat = " ".join(str(text).split())
    flat = _ENTITY.sub(_as_text, flat)
    flat = flat.replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\`*_\[\]|!~])", r"\\\1", flat)
    flat = re.sub(r"^([#+=-])", r"\\\1", flat)
    return re.sub(r"^(\d+)([.)])(?=\s)", r"\1\\\2", flat)


def _as_text(entity: re.Match[str]) -> str:
    """`&lt;` would be read as `<`; `H&E;` is no entity and stays as it is."""
    written = entity[0]
    is_entity = written[1] == "#" or written[1:] in html5
    return f"&amp;{written[1:]}" if is_entity else written


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
