"""A reading room with tiny slides and the tiny models: empty, or with a draft that waits."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rooms import CRITERION, PASSWORD, Visitor, opened_room, visitors
from serving import Served, served
from tiny_slides import paint, write_slide

from pathagent.reading_room.room import Room
from pathagent.reading_room.users import add_user


@pytest.fixture(scope="session")
def slide_folder(tmp_path_factory: pytest.TempPathFactory, lesion_slide: Path, plain_slide: Path) -> Path:
    """Slides that may be opened, and beside them what must not be."""
    top = tmp_path_factory.mktemp("library")
    (top / "outside.tiff").write_bytes(lesion_slide.read_bytes())
    folder = top / "slides"
    (folder / "more").mkdir(parents=True)
    shutil.copy(lesion_slide, folder / "lesion.tiff")
    shutil.copy(plain_slide, folder / "more" / "plain.tiff")
    write_slide(folder / "unsized.tiff", paint(lesion=True, seed=2), mpp=None)
    (folder / "text.tiff").write_text("no slide")
    (folder / "leads-out.tiff").symlink_to(top / "outside.tiff")
    return folder


@pytest.fixture
def room(tmp_path: Path, slide_folder: Path) -> Iterator[Room]:
    """An empty room."""
    with opened_room(tmp_path / "data", slide_folder) as found:
        yield found


@pytest.fixture
def visit(room: Room) -> Iterator[Callable[..., Visitor]]:
    """Visitors of an empty room with the users anna and ben."""
    with room.writing() as session:
        add_user(session, "anna", PASSWORD)
        add_user(session, "ben", PASSWORD)
    with visitors(room) as found:
        yield found


@pytest.fixture(scope="session")
def drafted(tmp_path_factory: pytest.TempPathFactory, slide_folder: Path) -> tuple[Path, str]:
    """(data folder, case id): a case of anna's whose draft waits for review."""
    data = tmp_path_factory.mktemp("drafted") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHAGENT_CACHE", str(tmp_path_factory.mktemp("cache")))
        with opened_room(data, slide_folder) as room:
            with room.writing() as session:
                add_user(session, "anna", PASSWORD)
                add_user(session, "ben", PASSWORD)
            with visitors(room) as visit:
                anna = visit("anna")
                case = anna.open_case("lesion.tiff", draft=True)
                assert anna.settled(case["id"])["state"] == "waiting for review"
    return data, case["id"]


@pytest.fixture
def waiting(drafted: tuple[Path, str], tmp_path: Path, slide_folder: Path) -> Iterator[Any]:
    """(room, visit, case id): a copy of the drafted case for one test."""
    data, case = drafted
    shutil.copytree(data, tmp_path / "copy")
    with opened_room(tmp_path / "copy", slide_folder) as room, visitors(room) as visit:
        yield room, visit, case


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Playwright's Chromium, or the one on PATH."""
    from chromium import sync_api

    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = str(own) if own.is_file() else shutil.which("chromium") or shutil.which("google-chrome")
        if found is None:
            pytest.skip("no Chromium")
        with playwright.chromium.launch(executable_path=found, args=["--no-sandbox"]) as chromium:
            yield chromium


@pytest.fixture(scope="module")
def server(slide_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the module's own, whose model answers within 50 ms; drafts stand beside a criterion."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "criteria").mkdir()
    (folder / "criteria" / "colon.md").write_text(f"# Colon\n## Adenocarcinoma, grade 2\n{CRITERION}\n")
    with served(folder / "data", slide_folder, folder / "cache", pause=0.05) as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(browser: Any, server: Served) -> Iterator[Any]:
    """The state of a browser that has come in by the link, which works once."""
    context = browser.new_context()
    context.new_page().goto(server.link)
    yield context.storage_state()
    context.close()


@pytest.fixture
def watched(browser: Any, signed_in: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page of a reader who has come in; what it asked for and complained of is checked at the end."""
    from chromium import Watched

    size = getattr(request, "param", {"width": 1280, "height": 720})
    context = browser.new_context(storage_state=signed_in, viewport=size, accept_downloads=True)
    found = Watched(context)
    yield found
    context.close()
    found.check()
