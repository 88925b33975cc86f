"""A whole run that draws synthetic images, by the embedded generator: over the API, and on the page."""

import json
import shutil
import time

import pytest
from rooms import API
from serving import served

from pathagent.cli import run
from pathagent_tools.generators.marking.verify import REQUIRED, marks_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undecided(tmp_path_factory):
    """A server whose model never has enough: a draft comes with pictures of what it could not decide."""
    place = tmp_path_factory.mktemp("undecided")
    assert run(["phantom", "make", "-o", str(place / "phantom"), "--seed", "7"]) == 0
    (place / "slides").mkdir()
    shutil.copy(place / "phantom" / "slide.tiff", place / "slides" / "specimen.tiff")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHAGENT_CERTIFICATES", str(place / "certificates"))
        with served(place / "data", place / "slides", place / "cache", undecided=True) as server:
            yield server


@pytest.fixture(scope="module")
def reader(undecided):
    """Who has come in by the link, which works once."""
    return undecided.reader()


def wait(reader, case):
    for _ in range(1200):
        view = reader.get(f"{API}/cases/{case}").json()
        if view["state"] != "at work":
            return view
        time.sleep(0.5)
    raise AssertionError(view["runs"])


def test_what_was_drawn_is_given_out_marked_and_is_no_evidence(reader):
    (slide,) = reader.get(f"{API}/slides").json()
    body = {"slides": [slide["id"]], "illustrate": True, "draft": True}
    case = reader.post(f"{API}/cases", json=body).json()["id"]
    view = wait(reader, case)
    assert view["state"] == "waiting for review", view["runs"]
    report = view["review"]["report"]
    assert report["outcome"] == "insufficient evidence" and report["illustrations"]
    cited = {i for claim in report["claims"] for i in claim["evidence"]}
    for image in report["illustrations"]:
        said = reader.get(f"{API}/cases/{case}/synthetic/{image['id']}.png")
        name = said.headers["content-disposition"].partition('filename="')[2].rstrip('"')
        assert set(marks_of(said.content, name).found) == set(REQUIRED)
        assert image["id"] not in cited | {e["id"] for e in view["evidence"]}
    page = reader.get(f"{API}/cases/{case}/versions/1/report.html").text
    assert all(image["title"] in page for image in report["illustrations"])
    regions = reader.get(f"{API}/cases/{case}/versions/1/report.geojson").json()
    assert "synthetic" not in json.dumps(regions).lower()


@pytest.fixture
def opened(browser, reader, undecided):
    """A page of the reader, which is watched."""
    from chromium import Watched

    with browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True) as context:
        cookies = [{"name": c.name, "value": c.value, "url": undecided.address} for c in reader.cookies.jar]
        context.add_cookies(cookies)
        watched = Watched(context)
        yield watched
        watched.check()


@pytest.mark.browser
def test_on_the_page_they_stand_apart_with_their_mark_and_never_over_the_slide(opened, undecided, tmp_path):
    from chromium import new_case, settled, shot, sync_api

    page, expect = opened.page, sync_api.expect
    new_case(page, undecided, "specimen.tiff", "Undecided", "Draft the report", "Synthetic reference images")
    page.locator(".steps .look").first.wait_for()
    shot(page, "case at work")
    settled(page, "waiting for review")
    shot(page, "case")
    page.get_by_role("tab", name="Report").click()
    shot(page, "report of an undecided case")
    apart = page.locator("#panel-report section.synthetic")
    expect(apart).to_contain_text("Drawn by a generator. Not patient tissue, not evidence.")
    figures = apart.locator("figure")
    assert figures.count() >= 1
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        picture = figure.locator("img")
        picture.evaluate("image => image.decode()")
        assert picture.get_attribute("alt").startswith("Synthetic image, not patient tissue")
        expect(figure.locator("figcaption")).to_contain_text("synthetic.")
        expect(figure.locator("figcaption")).to_contain_text("Marks: band, watermark")
        drawn, slide = picture.bounding_box(), page.locator(".stage").bounding_box()
        assert drawn["x"] >= slide["x"] + slide["width"] and drawn["width"] > 100
        name = figure.locator("figcaption b").inner_text().split()[0]
        expect(page.locator(f'.box[data-id="{name}"], #look-{name}')).to_have_count(0)
    shot(page, "synthetic images")
    expect(page.locator(".stage img[src*=synthetic]")).to_have_count(0)
    with page.expect_download() as waiting:
        figures.first.get_by_role("link", name="Download with its marks").click()
    waiting.value.save_as(tmp_path / waiting.value.suggested_filename)
    (file,) = tmp_path.glob("*synthetic*.png")
    assert set(marks_of(file.read_bytes(), file.name).found) == set(REQUIRED)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "synthetic images on a phone")
