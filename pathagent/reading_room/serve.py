"""Start the server of a reading room and keep it until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from pathagent.reading_room.app import make_app
from pathagent.reading_room.memory import keep_freed_blocks
from pathagent.reading_room.models import Models
from pathagent.reading_room.room import Room
from pathagent.reading_room.settings import RoomSettings
from pathagent.reading_room.users import has_users, issue, local_user
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

Say = Callable[[str], None]


class _Server(uvicorn.Server):
    """Lets go of those who follow a case as soon as it is asked to end."""

    def __init__(self, config: uvicorn.Config, room: Room) -> None:
        super().__init__(config)
        self._room = room

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._room.closing = True
        super().handle_exit(sig, frame)


def serve_room(settings: RoomSettings, *, say: Say, emit: Say, models: Models | None = None) -> None:
    """Serve until the process is told to end. emit: gets the address; say: what a person should know.

    Raises UserError where the port is taken, or where another machine could reach a server without users.
    """
    keep_freed_blocks()
    room = Room(settings, models)
    with room.database.reading() as session:
        known = has_users(session)
    if not settings.on_this_machine_only and not known:
        room.close()
        raise UserError(
            f"Whoever reaches {settings.host} could read every case, as there are no users. "
            f"Type first: pathagent user add NAME --data {settings.data}"
        )
    try:
        listening = _listening(settings)
    except UserError:
        room.close()
        raise
    address = _address(settings, listening.getsockname()[1])
    say(RESEARCH_USE_ONLY)
    say(f"Cases and keys: {settings.data}")
    if known:
        emit(f"{address}/")
    else:
        with room.writing() as session:
            secret = issue(session, local_user(session), "link")
        emit(f"{address}/enter?token={secret}")
        say(
            "The link works once; the browser stays signed in. Ctrl-C stops the server, and runs go on later."
        )
    config = uvicorn.Config(
        make_app(room),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    _Server(config, room).run(sockets=[listening])
    say("Stopped.")


def _listening(settings: RoomSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With its protocol named, asyncio turns Nagle's algorithm off; else each answer waits 40 ms for an ACK.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host, settings.port))
        found.listen(128)  # who is quicker than the server's start waits instead of being refused
    except OSError as error:
        found.close()
        raise UserError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Choose another with --port."
        ) from None
    return found


def _address(settings: RoomSettings, port: int) -> str:
    host = settings.names[0] if settings.names else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
