"""`/api/v1/slides`: the slides of the allowed folders, and their pixels as deep-zoom tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from pathagent.reading_room import audit, tiles, uploads
from pathagent.reading_room.access import Reader, TheReader, TheRoom
from pathagent.reading_room.room import Room
from pathagent_tools.core.errors import ResolutionError, UserError

router = APIRouter(prefix="/slides", tags=["slides"])
_KEPT = {"cache-control": "private, max-age=3600"}


@router.get("")
def slides(room: TheRoom, reader: TheReader) -> list[dict[str, Any]]:
    """The slides that a case may be opened with."""
    return [{"id": r.id, "name": r.name, "folder": room.library.place(r)} for r in room.library.listed()]


@router.post("", status_code=201)
async def upload(request: Request, name: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Send a slide of one file as the body; `name` is its file name. 422 where it is no slide, 507 where the
    disk is full; nothing is left behind then."""
    length = int(request.headers.get("content-length", "0"))
    path = await uploads.receive(room, name, length, request.stream())
    return await run_in_threadpool(_listed, room, reader, path, length)


def _listed(room: Room, reader: Reader, path: Path, length: int) -> dict[str, Any]:
    """The new slide as the list shows it; the audit chain tells who sent it."""
    row = next(r for r in room.library.listed() if Path(r.path) == path)
    with room.writing() as session:
        audit.append(session, reader.user.id, "slide.uploaded", row.id, {"bytes": length})
    return {"id": row.id, "name": row.name, "folder": room.library.place(row)}


@router.get("/{slide_id}")
def slide(slide_id: str, room: TheRoom, reader: TheReader) -> dict[str, Any]:
    """Size and resolution of a slide; `mpp` is null where the file does not say it."""
    row = room.library.find(slide_id)
    problem, mpp = "", None
    try:
        mpp = room.library.open(slide_id).mpp
    except ResolutionError as error:
        problem = str(error)
    opened = room.library.open_to_show(slide_id)
    return {
        "id": row.id,
        "name": row.name,
        "width": opened.width,
        "height": opened.height,
        "mpp": mpp,
        "problem": problem,
        "vendor": opened.vendor,
    }


@router.get("/{slide_id}/thumbnail.jpeg")
def thumbnail(
    slide_id: str,
    room: TheRoom,
    reader: TheReader,
    px: Annotated[int, Query(ge=32, le=1024)] = 256,
) -> Response:
    """The whole slide in one picture."""
    key = (slide_id, -1, px, 0)
    found = room.tiles.get(key)
    if found is None:
        found = tiles.jpeg(room.library.open_to_show(slide_id).thumbnail(px)[0])
        room.tiles.put(key, found)
    else:
        room.library.find(slide_id)
    return Response(found, media_type="image/jpeg", headers=_KEPT)


@router.get("/{slide_id}/slide.dzi")
def deep_zoom(slide_id: str, room: TheRoom, reader: TheReader) -> Response:
    """The Deep Zoom description of a slide."""
    return Response(tiles.description(room.library.open_to_show(slide_id)), media_type="application/xml")


@router.get("/{slide_id}/slide_files/{level}/{column}_{row}.jpeg")
def tile(slide_id: str, level: int, column: int, row: int, room: TheRoom, reader: TheReader) -> Response:
    """One tile of 256 px. Label and macro images have no address."""
    key = (slide_id, level, column, row)
    found = room.tiles.get(key)
    if found is None:
        slide = room.library.open_to_show(slide_id)
        try:
            found = tiles.tile(slide, level, column, row)
        except UserError as error:
            raise HTTPException(404, str(error)) from None
        room.tiles.put(key, found)
    else:
        room.library.find(slide_id)
    return Response(found, media_type="image/jpeg", headers=_KEPT)
