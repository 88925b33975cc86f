"""The web application: API, pages, static files, and what an error looks like."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

import pathagent
from pathagent.reading_room import pages
from pathagent.reading_room.access import room_of
from pathagent.reading_room.disk import FULL, DiskFullError, is_full
from pathagent.reading_room.guard import Guard
from pathagent.reading_room.opinions import WithheldError
from pathagent.reading_room.review import ConflictError
from pathagent.reading_room.room import Room
from pathagent.reading_room.routes import account, cases, opinions, review, slides
from pathagent_tools.core.errors import MissingSlideError, PathAgentError, UserError
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

log = logging.getLogger(__name__)
API: Final = "/api/v1"
_STATIC: Final = Path(__file__).parent / "static"


def make_app(room: Room) -> FastAPI:
    """The application of a room. The room's line starts with it, and the room is closed with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        room.line.start()
        yield
        room.close()

    app = FastAPI(
        title="PathAgent",
        version=pathagent.__version__,
        description=RESEARCH_USE_ONLY,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.room = room
    api = APIRouter(prefix=API)
    for part in (account.router, slides.router, cases.router, review.router, opinions.router):
        api.include_router(part)
    app.include_router(api)
    app.include_router(account.doors)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.add_exception_handler(PathAgentError, _explain)
    app.add_exception_handler(OperationalError, _no_database)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_middleware(Guard, settings=room.settings)
    return app


def _explain(request: Request, error: Exception) -> Response:
    """What stands against a request, in words: 403 withheld, 404 absent, 409 overtaken, 422 the user's,
    503 ours, 507 no room. Slides are known by their names in it."""
    status = 503
    if isinstance(error, ConflictError):
        status = 409
    elif isinstance(error, WithheldError):
        status = 403
    elif isinstance(error, MissingSlideError):
        status = 404
    elif isinstance(error, DiskFullError):
        status = 507
    elif isinstance(error, UserError):
        status = 422
    kind = getattr(error, "kind", "our fault")
    return _said(request, status, room_of(request).told(str(error)), kind)


def _no_database(request: Request, error: Exception) -> Response:
    """The database takes nothing: the disk is full, as a rule. What was begun is undone."""
    log.error("the database: %s", getattr(error, "orig", ""))
    full = is_full(error)
    said = FULL if full else "The database of the server does not answer. Try again in a moment."
    return _said(request, 507 if full else 503, said, "disk full" if full else "our fault")


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _said(request, error.status_code, str(error.detail), "refused")


def _said(request: Request, status: int, text: str, kind: str) -> Response:
    if request.url.path.startswith(API):
        body: dict[str, Any] = {"kind": kind, "detail": text}
        return JSONResponse(body, status_code=status)
    return pages.problem(request, status, text)
