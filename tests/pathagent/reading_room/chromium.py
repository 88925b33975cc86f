"""What the browser tests share: a page that is watched, and the steps that every reader takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import Served

sync_api = pytest.importorskip("playwright.sync_api", reason="no Chromium")
WAIT_MS = 240_000
sync_api.expect.set_options(timeout=WAIT_MS)  # five seconds are too few where the machine is busy


class Watched:
    """A page whose requests and complaints are written down."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.hosts: set[str | None] = set()
        self.complaints: list[str] = []
        self.page.on("request", lambda r: self.hosts.add(urlsplit(r.url).hostname))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self.hear)

    def hear(self, message: Any) -> None:
        """Keep errors; that the server has refused something is not one."""
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def check(self) -> None:
        """Nothing was asked of another machine, and the page did not complain."""
        assert self.hosts <= {"127.0.0.1", None, ""}, self.hosts
        assert self.complaints == []


def new_case(page: Any, server: Served, slide: str, title: str, button: str, *ticks: str) -> None:
    """Open a case of one slide. ticks: labels of boxes to be ticked."""
    page.goto(server.address)
    page.get_by_role("button", name="New case", exact=True).click()
    page.get_by_label(slide).check()
    page.get_by_label("Title").fill(title)
    for tick in ticks:
        page.get_by_label(tick).check()
    page.get_by_role("button", name=button).click()
    page.wait_for_url("**/cases/*")


def ask(page: Any, question: str) -> None:
    """Put a question and send it."""
    page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


def settled(page: Any, text: str) -> None:
    """Wait until the case is in that state."""
    sync_api.expect(page.locator("#case-state")).to_have_text(text, timeout=WAIT_MS)


def shot(page: Any, name: str) -> None:
    """A picture of the page into the folder `PATHAGENT_SCREENSHOTS`, where somebody wants to look at it."""
    if folder := os.environ.get("PATHAGENT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def in_view(page: Any, evidence: str) -> None:
    """The look's box lies in the middle of the view and fills a good part of it."""
    page.wait_for_function(
        f"""() => {{ const w = window.__viewer.where("{evidence}");
        return Math.abs(w.x) < 2 && Math.abs(w.y) < 2 && w.share >= 0.25; }}"""
    )


def at_rest(page: Any, evidence: str) -> None:
    """The view has stopped moving: the look's box keeps its place for ten frames."""
    page.wait_for_function(
        f"""() => {{ const w = window.__viewer.where("{evidence}"), now = `${{w.x}} ${{w.y}} ${{w.share}}`;
        window.__still = now === window.__seen ? window.__still + 1 : 0; window.__seen = now;
        return window.__still >= 10; }}"""
    )
