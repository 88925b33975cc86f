"""The page in a real Chromium: what a pathologist does, by mouse, by keyboard and on a phone."""

import json
import re

import pytest
from chromium import WAIT_MS, at_rest, in_view, new_case, settled, shot, sync_api
from rooms import CRITERION
from serving import Served, served

pytestmark = pytest.mark.browser


def test_from_a_new_case_to_an_approved_report(watched, server, tmp_path):
    page = watched.page
    new_case(page, server, "lesion.tiff", "Specimen A", "Draft the report")
    page.locator(".steps .look").first.wait_for()
    page.reload()
    settled(page, "waiting for review")
    sync_api.expect(page.locator("#evidence button").first).to_be_visible()

    page.get_by_label("Question").fill("Is there tumour?")
    page.get_by_role("button", name="Ask", exact=True).click()
    answer = page.locator(".run").last.locator(".answer")
    sync_api.expect(answer).to_contain_text("Yes", timeout=WAIT_MS)
    citation = answer.locator(".cite").first
    evidence = citation.inner_text()
    citation.click()
    in_view(page, evidence)

    page.get_by_role("button", name="Whole slide").click()
    page.get_by_role("tab", name="Report").click()
    at_rest(page, evidence)
    box = page.locator(f'.box[data-id="{evidence}"]')
    box.click(position={"x": 3, "y": 3}, force=True)
    sync_api.expect(page.locator(f'#report [data-evidence="{evidence}"].lit').first).to_be_visible()

    beside = page.locator("#report .compare")
    sync_api.expect(beside).to_contain_text("Not evidence from this slide")
    sync_api.expect(beside.locator("#P1 blockquote")).to_have_text(CRITERION)
    shot(page, "report with compare")

    first, second = page.locator("#report .claim").nth(0), page.locator("#report .claim").nth(1)
    said = first.locator(".said").inner_text()
    first.get_by_role("button", name="Edit").click()
    first.get_by_role("textbox").fill("half a sen")
    page.get_by_role("tab", name="Conversation").click()
    page.get_by_label("Question").fill("Is there stroma?")
    page.get_by_role("button", name="Ask", exact=True).click()
    sync_api.expect(page.locator(".run").last.locator(".answer .said")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("tab", name="Report").click()
    sync_api.expect(first.get_by_role("textbox")).to_have_value("half a sen")
    first.get_by_role("textbox").fill("Carcinoma, <b>moderately</b> differentiated.")
    first.get_by_role("button", name="Use these words").click()
    first.get_by_text("What the machine said").click()
    sync_api.expect(first.locator(".before p")).to_have_text(said)
    second.get_by_role("button", name="Strike").click()
    page.get_by_role("button", name="Save edits").click()
    sync_api.expect(page.locator("#report")).to_contain_text("Version 2: local")

    page.get_by_role("button", name="Approve…").click()
    page.get_by_label("Comment").fill("read at the microscope")
    page.get_by_role("button", name="Approve as reviewed").click()
    settled(page, "reviewed")
    sync_api.expect(page.locator("#decide")).to_contain_text("Approved by local")
    sync_api.expect(page.locator("#report .claim b")).to_have_count(0)

    files = page.locator("#report section").last
    with page.expect_download() as waiting:
        files.get_by_role("link", name="JSON").click()
    waiting.value.save_as(tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["status"] == "reviewed"
    assert report["claims"][0]["text"] == "Carcinoma, <b>moderately</b> differentiated."
    with page.expect_download() as waiting:
        files.get_by_role("link", name="Page").click()
    waiting.value.save_as(tmp_path / "report.html")
    page.goto((tmp_path / "report.html").as_uri())
    sync_api.expect(page.get_by_text("Carcinoma, <b>moderately</b> differentiated").first).to_be_visible()
    sync_api.expect(page.locator("#compare")).to_contain_text(CRITERION)


def test_a_drawn_region_is_asked_about_and_layers_are_switched(watched, server):
    page = watched.page
    new_case(page, server, "lesion.tiff", "Specimen B", "Open the slide")
    page.get_by_role("button", name="Draw a region").click()
    area = page.locator("#drawing").bounding_box()
    x, y = area["x"] + area["width"] * 0.55, area["y"] + area["height"] * 0.3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 70, steps=4)
    page.mouse.up()
    sync_api.expect(page.locator("#about-text")).to_have_text(
        re.compile(r"About a region of S1: \d+ µm × \d+ µm")
    )
    page.get_by_role("button", name="Ask", exact=True).click()
    sync_api.expect(page.locator(".seen li").first).to_be_visible(timeout=WAIT_MS)
    settled(page, "asked")

    canvas = page.locator("canvas.layer")
    for layer in ("Visited", "Heat"):
        page.get_by_role("button", name=layer).click()
        sync_api.expect(canvas).to_have_count(1)
        page.get_by_role("button", name=layer).click()
        sync_api.expect(canvas).to_have_count(0)
    page.get_by_role("button", name="Evidence", exact=True).click()
    sync_api.expect(page.locator(".box")).to_have_count(0)
    assert re.fullmatch(r"\d+(\.\d+)? (µm|mm)", page.locator("#bar-text").inner_text())


def test_by_keyboard_alone(watched, server):
    page = watched.page
    new_case(page, server, "lesion.tiff", "Specimen C", "Open the slide")
    page.get_by_label("Question").focus()
    page.keyboard.type("Is there tumour?")
    page.keyboard.press("Enter")
    settled(page, "asked")
    look = page.locator("#evidence button").first
    look.focus()
    evidence = look.locator("b").inner_text()
    page.keyboard.press("Enter")
    in_view(page, evidence)
    sync_api.expect(look).to_have_attribute("aria-pressed", "true")
    page.get_by_role("tab", name="Conversation").focus()
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#panel-report")).to_be_visible()


@pytest.mark.parametrize("watched", [{"width": 390, "height": 844}], indirect=True)
def test_on_a_phone_nothing_is_wider_than_the_screen(watched, server):
    page = watched.page
    for path in ("/", "/settings"):
        page.goto(server.address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    new_case(page, server, "plain.tiff", "Specimen D", "Open the slide")
    page.wait_for_function("() => window.__viewer?.osd.isOpen()")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    sync_api.expect(page.get_by_label("Question")).to_be_visible()


def test_a_slide_without_resolution_is_asked_for_it_on_the_page(watched, server):
    page = watched.page
    page.goto(server.address)
    page.get_by_role("button", name="New case", exact=True).click()
    page.get_by_label("unsized.tiff").check()
    page.get_by_role("button", name="Open the slide").click()
    page.get_by_label("Resolution").fill("0.5")
    page.get_by_role("button", name="Open the slide").click()
    page.wait_for_url("**/cases/*")
    sync_api.expect(page.locator("#magnification")).to_contain_text("resolution assumed")


def test_a_page_goes_on_with_a_server_that_was_killed_and_a_second_tab_sees_nothing_of_it(
    browser, slide_folder, tmp_path
):
    first = Served(tmp_path / "data", slide_folder, tmp_path / "cache", pause=0.2)
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(first.link)
        new_case(page, first, "lesion.tiff", "Specimen E", "Draft the report")
        other = context.new_page()
        new_case(other, first, "plain.tiff", "Specimen F", "Open the slide")
        page.locator(".steps .look").first.wait_for()
        first.kill()
        with served(tmp_path / "data", slide_folder, tmp_path / "cache", port=first.port):
            settled(page, "waiting for review")
            sync_api.expect(page.locator(".run .answer")).to_contain_text("Draft diagnosis")
            sync_api.expect(other.locator(".run")).to_have_count(0)
            sync_api.expect(other.locator("#case-state")).to_have_text("open")
    first.end()
