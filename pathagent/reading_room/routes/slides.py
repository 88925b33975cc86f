"""`/api/v1/slides`: the slides of the allowed folders, and their pixels as deep-zoom tiles."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response

from pathagent.reading_room import tiles
from pathagent.reading_room.access import TheReader, TheRoom
from pathagent_tools.core.errors import ResolutionError, UserError

router = APIRouter(prefix="/slides", tags=["slides"])
_KEPT = {"cache-control": "private, max-age=3600"}


@router.get("")
def slides(room: TheRoom, reader: TheReader) -> list[dict[str, Any]]:
    """The slides that a case may be opened with."""
    return [{"id": r.id, "name": r.name, "folder": room.library.place(r)} for r in room.library.listed()]


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
