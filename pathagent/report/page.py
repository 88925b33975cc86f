"""`report.html`: one file that opens offline and asks no other machine for anything."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, Final

from pathagent.report import words
from pathagent.report.figures import jpeg_uri
from pathagent.report.view import View

LARGEST_PAGE: Final = 4_500_000
_SIZES: Final = ((1400, 512, 90), (1200, 384, 86), (1000, 256, 80), (800, 192, 70), (480, 128, 55))
"""(overview px, field px, JPEG quality), tried until the page is small enough."""
_INSET_PX: Final = 180


def report_html(view: View) -> str:
    """The page. Pictures are made smaller until it has at most 4.5 MB."""
    page = ""
    for overview_px, field_px, quality in _SIZES:
        page = _render(view, _pictures(view, overview_px, field_px, quality))
        if len(page) <= LARGEST_PAGE:
            break
    return page


def _pictures(view: View, overview_px: int, field_px: int, quality: int) -> dict[str, str]:
    """Name → data URI: `map-S1`, `heat-S1`, `inset-S1`, `px-E1`."""
    found = {}
    for slide in view.slides:
        found[f"map-{slide.record.id}"] = jpeg_uri(slide.map.rgb, max_px=overview_px, quality=quality)
        if slide.heat is not None:
            found[f"heat-{slide.record.id}"] = jpeg_uri(slide.heat, max_px=overview_px, quality=quality)
        found[f"inset-{slide.record.id}"] = jpeg_uri(slide.map.rgb, max_px=_INSET_PX, quality=70)
    for name, field in view.fields.items():
        found[f"px-{name}"] = jpeg_uri(field.image, max_px=field_px, quality=quality)
    for image, data in view.illustrations:
        found[f"synthetic-{image.id}"] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return found


def _render(view: View, pictures: dict[str, str]) -> str:
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page: str = _template().render(
        view=view,
        report=view.report,
        pictures=pictures,
        words=words,
        policy=policy,
        style=_asset("report.css"),
        script=script,
    )
    return page


def _asset(name: str) -> str:
    return (files("pathagent.report") / "templates" / name).read_text("utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pathagent.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
