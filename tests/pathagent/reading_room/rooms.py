"""Rooms with the tiny models, and visitors who have or have not signed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from stand_ins import PROFILE, ColourEncoder, LookingModel
from starlette.testclient import TestClient

from pathagent.reading_room.app import make_app
from pathagent.reading_room.models import Models
from pathagent.reading_room.room import Room
from pathagent.reading_room.settings import RoomSettings
from pathagent.reading_room.users import issue, local_user

PASSWORD = "correct horse battery"
API = "/api/v1"
CRITERION = "Irregular glands that invade the stroma are required."
"""What a folder of written criteria says of adenocarcinoma."""


class Visitor(TestClient):
    """A browser: keeps its cookie, and sends the word of its session where it has one."""

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        self.post("/sign-in", content=f"name={name}&password={password}")
        self.take_word()

    def take_word(self) -> None:
        self.headers["x-csrf-token"] = self.get(f"{API}/me").json()["csrf"]

    def slides(self) -> dict[str, str]:
        """name → id."""
        return {s["name"]: s["id"] for s in self.get(f"{API}/slides").json()}

    def settled(self, case: str) -> dict[str, Any]:
        """The case once nothing is at work on it."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            states = {c["id"]: c["state"] for c in self.get(f"{API}/cases").json()}
            if states[case] != "at work":
                return dict(self.get(f"{API}/cases/{case}").json())
            time.sleep(0.25)
        raise AssertionError("still at work after five minutes")

    def open_case(self, *names: str, **more: Any) -> dict[str, Any]:
        """A new case, as the API gives it."""
        ids = self.slides()
        made = self.post(f"{API}/cases", json={"slides": [ids[n] for n in names], **more})
        assert made.status_code == 201, made.text
        return dict(made.json())


@contextmanager
def opened_room(data: Path, folder: Path, model: LookingModel | None = None, **more: Any) -> Iterator[Room]:
    """A room on a data folder; its line is started by the application."""
    settings = RoomSettings(data=data, folders=(folder,), profile=PROFILE, **more)
    room = Room(settings, Models(settings, vlm=model or LookingModel(), encoder=ColourEncoder()))
    yield room


@contextmanager
def visitors(room: Room) -> Iterator[Callable[..., Visitor]]:
    """`visit()`: a visitor without a cookie; `visit("local")`: the reader of the one-time link."""
    with ExitStack() as stack:
        app = make_app(room)
        first = stack.enter_context(Visitor(app, base_url="http://127.0.0.1:8860"))

        def visit(name: str | None = None) -> Visitor:
            visitor = Visitor(app, base_url="http://127.0.0.1:8860")
            if name == "local":
                with room.writing() as session:
                    secret = issue(session, local_user(session), "link")
                assert visitor.get(f"/enter?token={secret}", follow_redirects=False).status_code == 303
                visitor.take_word()
            elif name is not None:
                visitor.sign_in(name)
            return visitor

        assert first.get("/static/icon.svg").status_code == 200
        yield visit
