"""What every answer carries and every request must be: no other host's names, no other site's changes."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pathagent.reading_room.access import SAFE
from pathagent.reading_room.settings import LOOPBACK, RoomSettings

VIEWER_STYLE: Final = "sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE="
"""The one style that OpenSeadragon 6.1.1 adds to a page (no outline where there is no mouse)."""
POLICY: Final = (
    f"default-src 'none'; script-src 'self'; style-src 'self' '{VIEWER_STYLE}'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with "no-referrer" a browser sends the door's form with origin "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
MAX_BODY: Final = 1 << 20
"""Bytes of a request: everything that a reader sends is text, but for slides."""
UPLOAD: Final = "/api/v1/slides"
"""The one address that slides may be sent to."""


class Guard:
    """ASGI middleware: the names under which the server may be reached, where changes come from, headers."""

    def __init__(self, app: ASGIApp, settings: RoomSettings) -> None:
        self._app, self._settings = app, settings
        self._names = {*LOOPBACK, settings.host, *settings.names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on with the headers added."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if refusal := self._refusal(scope):
            await refusal(scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        if "\0" in scope["path"]:  # a file system and a database would stumble over it
            return PlainTextResponse("There is no such address.", 404)
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in self._names:
            return PlainTextResponse("This server does not answer to that name. Start it with --name.", 421)
        if scope["method"] in SAFE:
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return PlainTextResponse("Changes are not accepted from another site.", 403)
        length = headers.get("content-length", "0")
        most = self._settings.max_upload if scope["path"] == UPLOAD else MAX_BODY
        if not length.isdecimal() or int(length) > most or "transfer-encoding" in headers:
            return PlainTextResponse(f"This is too large: the server takes {most:,} bytes here.", 413)
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
