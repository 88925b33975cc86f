"""axe-core over every page and state: nothing critical or serious in our own markup."""

import hashlib
import re
from pathlib import Path

import pytest
from chromium import WAIT_MS, ask, new_case, settled, sync_api

pytestmark = pytest.mark.browser
VENDORED = Path(__file__).parent / "vendor" / "axe-core"
FOREIGN = [[".openseadragon-container"]]
"""What OpenSeadragon builds into the viewer; it is not our markup."""
GRAVE = ("critical", "serious")


@pytest.fixture(scope="module")
def axe() -> str:
    text = (VENDORED / "axe.min.js").read_text(encoding="utf-8")
    digest = re.search(r"SHA-256 of axe.min.js: (\w{64})", (VENDORED / "VENDORED.md").read_text())
    assert digest and hashlib.sha256(text.encode()).hexdigest() == digest[1]
    return text


def faults(page, axe):
    """(rule, target, why) of each grave finding on the page as it stands."""
    page.evaluate(f"{axe}; 0")
    said = page.evaluate(
        "(exclude) => axe.run({ exclude }, { resultTypes: ['violations'] }).then((r) => r.violations)",
        FOREIGN,
    )
    return [
        (v["id"], node["target"], node["failureSummary"])
        for v in said
        if v["impact"] in GRAVE
        for node in v["nodes"]
    ]


def test_axe_finds_what_is_wrong(watched, server, axe):
    page = watched.page
    page.goto(f"{server.address}/settings")
    page.evaluate("document.querySelector('main').append(document.createElement('button'), new Image())")
    assert {rule for rule, *_ in faults(page, axe)} == {"button-name", "image-alt"}


def test_nothing_grave_on_any_page(watched, server, axe, browser):
    page = watched.page
    with browser.new_context() as stranger:
        door = stranger.new_page()
        door.goto(server.address)
        assert faults(door, axe) == []
    for path in ("/", "/settings", "/cases/none"):
        page.goto(server.address + path)
        assert faults(page, axe) == [], path
    page.goto(server.address)
    page.get_by_role("button", name="New case", exact=True).click()
    page.get_by_label("lesion.tiff").wait_for()
    assert faults(page, axe) == []


def test_nothing_grave_on_a_case_in_any_of_its_states(watched, server, axe):
    page = watched.page
    page.goto(server.address)
    page.get_by_role("button", name="New case", exact=True).click()
    page.get_by_label("lesion.tiff").check()
    page.get_by_label("Patient’s key").fill("study 12, patient 8")
    page.get_by_role("button", name="Open the slide").click()
    page.wait_for_url("**/cases/*")
    page.wait_for_function("() => window.__viewer?.osd.isOpen()")
    assert faults(page, axe) == []
    ask(page, "Is there tumour with the server gone?")
    sync_api.expect(page.locator(".run .status")).to_contain_text("went away", timeout=WAIT_MS)
    page.get_by_role("button", name="Draft the report").click()
    settled(page, "waiting for review")
    for tab in ("Conversation", "Report", "Timeline"):
        page.get_by_role("tab", name=tab).click()
        assert faults(page, axe) == [], tab
    page.get_by_role("tab", name="Report").click()
    page.locator("#report .claim").first.get_by_role("button", name="Edit").click()
    assert faults(page, axe) == []
    page.get_by_role("button", name="Approve…").click()
    assert faults(page, axe) == []


def test_nothing_grave_in_reader_mode(watched, server, axe):
    page = watched.page
    new_case(page, server, "plain.tiff", "Axe", "Open the slide", "Reader mode")
    page.get_by_label("Diagnosis").wait_for()
    assert faults(page, axe) == []
