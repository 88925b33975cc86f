"""The slide viewer of the chat page as a widget: Jupyter, VS Code, Colab, marimo.

Tiles come from the kernel by the widget's own messages: no server is started and no port is opened.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from pathagent.reading_room import tiles
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Evidence, Report
from pathagent_tools.slides import open_slide


class SlideViewer(anywidget.AnyWidget):
    """A slide with the looks of a report over it.

    `picked`: id of the look that the viewer shows (`"E2"`); set it to move the viewer there, or observe it.
    `region`: the rectangle that was drawn last, `{x, y, width, height}` in level-0 px, or None.
    The file stays open until `close()`.
    """

    slide = traitlets.Dict(read_only=True).tag(sync=True)
    evidence: Any = traitlets.List(read_only=True).tag(sync=True)
    picked = traitlets.Unicode("").tag(sync=True)
    region = traitlets.Dict(None, allow_none=True).tag(sync=True)
    _page = traitlets.Unicode(read_only=True).tag(sync=True)
    _style = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(self, path: str | Path, report: Report | None, mpp: float | None) -> None:
        self._opened = open_slide(Path(path), mpp=mpp)
        slide = self._opened
        slide_id = _slide_of(report, slide.digest) if report else "S1"
        facts = {
            "case_id": slide_id,
            "width": slide.width,
            "height": slide.height,
            "mpp": slide.mpp,
            "mpp_assumed": slide.resolution_assumed,
            "problem": "",
        }
        looks = [e for e in report.evidence if e.region.slide == slide_id] if report else []
        super().__init__()
        self._esm = _module()
        for name, value in {
            "slide": facts,
            "evidence": [_look(e) for e in looks],
            "_page": _page(),
            "_style": _style(),
        }.items():
            self.set_trait(name, value)
        self.on_msg(self._answer)

    def _answer(self, _widget: Any, asked: dict[str, Any], _buffers: Any) -> None:
        """Send the tile `level/column/row` that the page asks for, or why there is none."""
        name = str(asked.get("tile"))
        try:
            level, column, row = map(int, name.split("/"))
            self.send({"tile": name}, [tiles.tile(self._opened, level, column, row)])
        except (ValueError, UserError) as error:
            self.send({"tile": name, "fault": str(error)}, [b""])

    def close(self) -> None:
        """Take the widget off the page and close the slide."""
        super().close()
        self._opened.close()


def _slide_of(report: Report, digest: str) -> str:
    """The report's id of the slide with this digest. UserError where the report is of other slides."""
    for record in report.slides:
        if record.digest == digest:
            return record.id
    names = ", ".join(record.name for record in report.slides)
    raise UserError(f"The report is of other slides ({names}): give one of those, or no report.")


def _look(evidence: Evidence) -> dict[str, Any]:
    title = evidence.findings.line() if evidence.findings else "measured only"
    return {"id": evidence.id, "region": evidence.region.model_dump(mode="json"), "title": title}


def _text(package: str, *path: str) -> str:
    return files(package).joinpath(*path).read_text("utf-8")


@cache
def _module() -> str:
    """One module: notebooks load a widget's code as one text, without a place for relative imports."""
    static = ("pathagent.reading_room", "static")
    lines = (
        line.removeprefix("export ")
        for name in ("elements.js", "viewer.js")
        for line in _text(*static, name).splitlines()
        if not line.startswith("import ")
    )
    library = _text(*static, "vendor", "openseadragon", "openseadragon.min.js")
    return "\n".join(
        [
            f"const OpenSeadragon = (() => {{{library}\nreturn OpenSeadragon; }})();",
            *lines,
            _text("pathagent.notebook", "widget.js"),
        ]
    )


@cache
def _page() -> str:
    """The viewer's part of the case page, and the list of looks."""
    stage = _text("pathagent.reading_room", "templates", "stage.html.j2")
    strip = '<div class="strip"><h2>Evidence</h2><ol id="evidence"></ol></div>'
    return stage + strip


@cache
def _style() -> str:
    sheet = _text("pathagent.reading_room", "static", "room.css").replace(":root{", ":host{", 1)
    return sheet + _text("pathagent.notebook", "widget.css")
