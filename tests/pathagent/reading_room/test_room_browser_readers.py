"""In a real Chromium: reader mode, timeline, uploads, questions that fail, reloads, hostile words."""

import re
import shutil

import pytest
from chromium import Watched, ask, new_case, settled, sync_api
from payloads import MARKUP
from poisoned import put_in
from rooms import PASSWORD, opened_room
from serving import served

pytestmark = pytest.mark.browser
expect = sync_api.expect


def test_reader_mode_shows_the_draft_after_the_opinion_and_asks_whether_they_agree(watched, server):
    page = watched.page
    new_case(page, server, "lesion.tiff", "Reader", "Draft the report", "Reader mode")
    expect(page.locator("#tabs")).to_be_hidden()
    expect(page.locator("#opinion-state")).to_have_text("The machine’s draft is ready.")
    expect(page.locator("#evidence button")).to_have_count(0)
    expect(page.locator("#evidence")).to_have_text(
        "What the machine looked at is shown once your opinion stands."
    )
    page.get_by_label("Diagnosis").fill("Adenocarcinoma, grade 2")
    page.get_by_label("How sure").fill("80")
    page.get_by_role("button", name="Commit my opinion").click()
    page.get_by_role("tab", name="Report").click()
    expect(page.locator("#report .claim").first).to_be_visible()
    expect(page.locator("#opinion")).to_contain_text("You said: Adenocarcinoma, grade 2 (80 % sure)")
    page.get_by_role("button", name="Says the same").click()
    expect(page.locator("#opinion")).to_be_hidden()


def test_a_patient_s_cases_stand_in_a_timeline(watched, server):
    page = watched.page
    for title in ("First biopsy", "Second biopsy"):
        page.goto(server.address)
        page.get_by_role("button", name="New case", exact=True).click()
        page.get_by_label("plain.tiff").check()
        page.get_by_label("Title").fill(title)
        page.get_by_label("Patient’s key").fill("study 12, patient 7")
        page.get_by_role("button", name="Open the slide").click()
        page.wait_for_url("**/cases/*")
    expect(page.locator("#tab-timeline")).to_be_visible()
    page.get_by_role("tab", name="Conversation").focus()
    page.keyboard.press("ArrowLeft")
    entries = page.locator("#timeline > li")
    expect(entries).to_have_count(2)
    expect(entries.nth(1)).to_contain_text("Second biopsy this case")
    entries.nth(0).get_by_role("link", name="First biopsy").click()
    expect(page.locator("#case-title")).to_have_text("First biopsy")


def test_a_key_is_added_to_an_open_case_on_its_page(watched, server):
    page = watched.page
    for title, key in (("Earlier", "study 13, patient 8"), ("Opened without a key", "")):
        page.goto(server.address)
        page.get_by_role("button", name="New case", exact=True).click()
        page.get_by_label("plain.tiff").check()
        page.get_by_label("Title").fill(title)
        page.get_by_label("Patient’s key").fill(key)
        page.get_by_role("button", name="Open the slide").click()
        page.wait_for_url("**/cases/*")
    page.get_by_role("button", name="Patient’s key…").click()
    page.locator("#tying-key").fill("Study 13, patient 8")
    page.get_by_role("button", name="Add the key").click()
    expect(page.locator("#timeline > li")).to_have_count(2)
    expect(page.get_by_role("button", name="Patient’s key…")).to_be_hidden()


def test_a_slide_is_sent_and_what_is_none_is_refused_on_the_page(watched, server, slide_folder, tmp_path):
    page = watched.page
    shutil.copy(slide_folder / "lesion.tiff", tmp_path / "sent.tiff")
    (tmp_path / "words.tiff").write_text("these are words")
    page.goto(server.address)
    page.get_by_role("button", name="New case", exact=True).click()
    page.get_by_label("Send a slide").set_input_files(tmp_path / "words.tiff")
    expect(page.locator("#new-fault")).to_contain_text("words.tiff is a text file, not a slide")
    page.get_by_label("Send a slide").set_input_files(tmp_path / "sent.tiff")
    expect(page.get_by_label("sent.tiff")).to_be_checked()
    page.get_by_role("button", name="Open the slide").click()
    page.wait_for_url("**/cases/*")
    page.wait_for_function("() => window.__viewer?.osd.isOpen()")


def test_a_question_that_fails_says_why_and_the_case_stays_what_it_is(watched, server):
    page = watched.page
    new_case(page, server, "lesion.tiff", "Failing", "Open the slide")
    ask(page, "Is there tumour with the server gone?")
    status = page.locator(".run .status")
    expect(status).to_contain_text("paused: The model server at http://127.0.0.1:1 went away.")
    settled(page, "open")
    for question, said in (("🙂🙂", "has no words"), ("x" * 5000, "5,000 characters, more than 2,000")):
        ask(page, question)
        expect(page.locator("#ask-fault")).to_contain_text(said)
        expect(page.get_by_label("Question")).to_have_value(question)
    expect(page.locator(".run")).to_have_count(1)


def test_a_page_that_is_loaded_again_at_five_points_loses_nothing(browser, slide_folder, tmp_path):
    with served(tmp_path / "data", slide_folder, tmp_path / "cache", pause=0.5) as server:
        context = browser.new_context()
        watched = Watched(context)
        page = watched.page
        page.goto(server.link)
        new_case(page, server, "lesion.tiff", "Reloaded", "Draft the report")
        looks = page.locator(".steps .look")
        for least in (0, 1, 2, 4, 6):
            page.wait_for_function(f"() => document.querySelectorAll('.steps .look').length >= {least}")
            expect(page.locator("#case-state")).to_have_text("at work")
            seen = looks.all_text_contents()
            page.reload()
            page.wait_for_function(f"() => document.querySelectorAll('.steps .look').length >= {len(seen)}")
            assert looks.all_text_contents()[: len(seen)] == seen
        settled(page, "waiting for review")
        ids = [re.match(r"E\d+", text)[0] for text in looks.all_text_contents()]
        assert len(ids) == len(set(ids)) == page.locator("#evidence button").count()
        expect(page.locator(".run")).to_have_count(1)
        context.close()
        watched.check()


def test_hostile_words_are_text_wherever_the_page_shows_them(browser, drafted, slide_folder, tmp_path):
    data, case = drafted
    shutil.copytree(data, tmp_path / "data")
    with opened_room(tmp_path / "data", slide_folder) as room:
        put_in(room, case, MARKUP)
        room.close()
    with served(tmp_path / "data", slide_folder, tmp_path / "cache") as server:
        context = browser.new_context()
        watched = Watched(context)
        page = watched.page
        page.on("dialog", lambda dialog: watched.complaints.append(dialog.message))
        page.goto(server.address)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#cases li")).to_have_count(1)
        page.goto(f"{server.address}/cases/{case}")
        expect(page.locator("#evidence button").first).to_be_visible()
        page.locator("#evidence button").first.click()
        expect(page.locator(".run .asked")).to_contain_text(MARKUP[0])
        page.get_by_role("tab", name="Report").click()
        for payload in MARKUP:
            expect(page.locator("#report")).to_contain_text(" ".join(payload.split()))
        assert page.evaluate("document.documentElement.dataset.harmed") is None
        foreign = "#report, #messages, #evidence, #case-title, #cases"
        found = page.locator(foreign).locator(
            "script, iframe, svg, style, link, meta, math, body, a[href^=javascript]"
        )
        assert found.count() == 0
        context.close()
        watched.check()
