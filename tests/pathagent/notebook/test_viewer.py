"""The viewer for notebooks: the widget's own messages and module, in a real Chromium."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import pathagent
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Report
from pathagent_tools.slides import open_slide

pytest.importorskip("anywidget", reason="no extra notebook")


def of_slide(path: Path, **changes: Any) -> Report:
    """A report with two looks at the slide of `path`, as a run would leave it."""
    with open_slide(path) as slide:
        record = {
            "id": "S1", "name": path.name, "digest": slide.digest, "vendor": None, "width": slide.width,
            "height": slide.height, "mpp": slide.mpp, "mpp_source": "tiff", "stain": "H&E", "tissue_mm2": 1.0,
            "pieces": 1, "usable": True,
        }  # fmt: skip
    looks = [
        {
            "id": f"E{i}", "place": "middle", "pixels_sha256": "0" * 64, "reason": "most unusual",
            "region": {"slide": "S1", "x": x, "y": x, "width": 256, "height": 256, "mpp": 0.5},
            "made_by": {"tool": "measure"}, "findings": None, "sentence": None,
        }
        for i, x in ((1, 128), (2, 512))
    ]  # fmt: skip
    claim = {
        "id": "C1", "section": "microscopy", "text": "Solid <nests> of tumour.", "evidence": ["E2"],
        "verdict": "contradicted", "written_by": "model",
    }  # fmt: skip
    values = {"outcome": "report", "outcome_text": "A draft.", "slides": [record], "claims": [claim]}
    return Report.model_validate(values | {"evidence": looks, "limits": ["One look only."]} | changes)


@pytest.fixture
def viewer(lesion_slide: Path) -> Iterator[Any]:
    found = pathagent.view(lesion_slide, of_slide(lesion_slide))
    yield found
    found.close()


def test_a_tile_comes_with_the_pixels_of_the_slide_and_a_wrong_one_with_a_reason(
    viewer: Any, lesion_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(viewer, "send", lambda content, buffers: sent.append((content, buffers)))
    for asked in ({"tile": "10/0/0"}, {"tile": "10/99/0"}, {"tile": "../x"}, {}):
        viewer._answer(viewer, asked, [])
    (good, (tile,)), *bad = sent
    assert good == {"tile": "10/0/0"}
    with Image.open(io.BytesIO(tile)) as image:
        assert image.size == (256, 256) and image.format == "JPEG"
    assert next(content["fault"] for content, _ in bad) == "There is no such tile."
    assert all(content["fault"] and buffers == [b""] for content, buffers in bad)


def test_only_the_slide_of_the_report_can_be_shown_with_it(lesion_slide: Path, plain_slide: Path) -> None:
    with pytest.raises(UserError, match=r"The report is of other slides \(.*tiff\)"):
        pathagent.view(plain_slide, of_slide(lesion_slide))


def test_a_report_shows_in_a_cell_what_must_be_read_with_its_claims(lesion_slide: Path) -> None:
    html = of_slide(lesion_slide)._repr_html_()
    for said in (
        "Research use only",
        "Draft: report",
        "Solid &lt;nests&gt;",
        "[E2]",
        "contradicted",
        "One look only.",
    ):
        assert said in html
    assert "<nests>" not in html


PAGE = """<!doctype html><body><div id="cell"></div><script type="module">
const values = %s, heard = {};
window.model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; (heard[`change:${name}`] ?? []).forEach((f) => f()); },
  on: (name, f) => (heard[name] ??= []).push(f),
  save_changes: () => window.saved(JSON.stringify({ picked: values.picked, region: values.region })),
  send: async (content) => {
    const [answer, tile] = JSON.parse(await window.kernel(JSON.stringify(content)));
    const bytes = Uint8Array.from(atob(tile), (c) => c.charCodeAt(0));
    heard["msg:custom"].forEach((f) => f(answer, [new DataView(bytes.buffer)]));
  },
};
const code = new Blob([values._esm], { type: "text/javascript" });
const { default: widget } = await import(URL.createObjectURL(code));
widget.render({ model: window.model, el: document.getElementById("cell") });
</script>"""


@pytest.mark.browser
def test_in_a_browser_the_cell_shows_tissue_and_moves_to_the_looks(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page plays the notebook: it carries the widget's messages between its two halves."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Chromium")
    answers: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(viewer, "send", lambda content, buffers: answers.append((content, buffers)))

    def kernel(content: str) -> str:
        viewer._answer(viewer, json.loads(content), [])
        answer, (tile,) = answers.pop()
        return json.dumps([answer, base64.b64encode(tile).decode()])

    names = ("slide", "evidence", "picked", "region", "_page", "_style", "_esm")
    values = json.dumps({name: getattr(viewer, name) for name in names}).replace("</", "<\\/")
    (tmp_path / "page.html").write_text(PAGE.replace("%s", values))
    saved: list[dict[str, Any]] = []
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = str(own) if own.is_file() else shutil.which("chromium")
        if found is None:
            pytest.skip("no Chromium")
        with playwright.chromium.launch(executable_path=found, args=["--no-sandbox"]) as chromium:
            page = chromium.new_page(viewport={"width": 1000, "height": 700})
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.expose_function("kernel", kernel)
            page.expose_function("saved", lambda text: saved.append(json.loads(text)))
            page.goto((tmp_path / "page.html").as_uri())
            page.get_by_role("button", name="E2").click()
            page.wait_for_function(
                "() => { const w = window.__viewer.where('E2');"
                " return Math.abs(w.x) < 2 && Math.abs(w.y) < 2 && w.share >= 0.25; }"
            )
            page.locator(".box[data-id=E1]").wait_for(state="attached")
            page.wait_for_function("() => window.__viewer.osd.world.getItemAt(0).getFullyLoaded()")
            assert re.fullmatch(r"\d+(\.\d)?×", page.locator("#magnification").inner_text())
            page.get_by_role("button", name="Draw a region").click()
            stage = page.locator("#drawing").bounding_box()
            assert stage is not None
            page.mouse.move(stage["x"] + 100, stage["y"] + 100)
            page.mouse.down()
            page.mouse.move(stage["x"] + 300, stage["y"] + 250)
            page.mouse.up()
            page.wait_for_function("() => window.model.get('region') !== null")
            shown = page.screenshot(path=tmp_path / "cell.png")
            assert complaints == []
    assert saved[0]["picked"] == "E2"
    assert saved[-1]["region"]["width"] > saved[-1]["region"]["height"] > 0
    with Image.open(io.BytesIO(shown)) as image:
        colours = image.convert("RGB").crop((200, 150, 800, 400)).getcolors(1 << 20)
    assert colours is not None and len(colours) > 1000, "tissue has many colours, an empty stage few"
