"""A slide that a reader sends: streamed into a folder of the library, opened once, and kept or refused.

It is written beside its place under a name that no list shows, so a file that is cut off, is no slide or
does not fit on the disk leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool

from pathagent.reading_room.disk import FULL, DiskFullError, is_full
from pathagent.reading_room.naming import named
from pathagent_tools.core.errors import ResolutionError, SlideError, UserError
from pathagent_tools.slides import open_slide

if TYPE_CHECKING:
    from pathagent.reading_room.room import Room

SUFFIXES: Final = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".svslide", ".bif", ".dcm")
"""Endings of slides that are one file; those of several are copied into a folder of the server."""
STAGING: Final = ".uploading-"
_LONGEST_NAME: Final = 200


async def receive(room: Room, name: str, length: int, chunks: AsyncIterator[bytes]) -> Path:
    """Write the file that is sent; where it lies now. length: bytes that were announced.

    What is refused is read to its end and thrown away, so that a browser gets to hear why.
    Raises UserError for a name that will not do and for what is no slide, DiskFullError.
    """
    try:
        place = _place(room, name, length)
        staging = place.parent / f"{STAGING}{uuid.uuid4().hex}"
        try:
            await run_in_threadpool(staging.mkdir)
            await _write(staging / place.name, chunks, length)
            await run_in_threadpool(_check, staging / place.name)
            await run_in_threadpool(_keep, staging / place.name, place)
        finally:
            await run_in_threadpool(shutil.rmtree, staging, ignore_errors=True)
    except (UserError, OSError) as error:
        async for _ in chunks:
            pass
        if isinstance(error, OSError):
            raise _cannot_write(error) from error
        raise
    return place


def clean(folder: Path) -> None:
    """Take away what a server that was killed left half written."""
    for left in folder.glob(f"{STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _place(room: Room, name: str, length: int) -> Path:
    folder = room.settings.uploads
    if folder is None:
        raise UserError("This server takes no slides. Start it with --uploads DIR.")
    plain = name.isprintable() and not name.startswith(".") and not set(name) & set("/\\:")
    if not plain or not Path(name).stem or len(name.encode()) > _LONGEST_NAME:
        raise UserError("The file needs a plain name, without folders. Rename it, then send it again.")
    if Path(name).suffix.lower() not in SUFFIXES:
        raise UserError(f"{name} does not end like a slide of one file: {', '.join(SUFFIXES)}.")
    if (folder / name).exists():
        raise UserError(f"A slide {name} lies there already. Choose it from the list, or rename yours.")
    if length > shutil.disk_usage(folder).free:
        raise DiskFullError(FULL)
    return folder.resolve() / name


async def _write(path: Path, chunks: AsyncIterator[bytes], length: int) -> None:
    written = 0
    with path.open("xb") as out:
        async for chunk in chunks:
            written += len(chunk)
            if written > length:
                raise UserError("More was sent than was announced. Send the file again.")
            await run_in_threadpool(out.write, chunk)
        out.flush()
        await run_in_threadpool(os.fsync, out.fileno())
    if written < length:
        raise UserError("The file was cut off on its way. Send it again.")


def _check(path: Path) -> None:
    """Open it as any slide is opened. One that does not say its resolution is asked for it later."""
    try:
        open_slide(path).close()
    except ResolutionError:
        return
    except SlideError as error:
        raise type(error)(named(str(error), path)) from None


def _keep(path: Path, place: Path) -> None:
    """Into its place, unless somebody else was quicker: a link never writes over a file."""
    try:
        place.hardlink_to(path)
    except FileExistsError:
        raise UserError(
            f"A slide {place.name} lies there already. Rename yours, then send it again."
        ) from None
    with suppress(OSError):
        place.chmod(0o644)


def _cannot_write(error: OSError) -> UserError:
    if is_full(error):
        return DiskFullError(FULL)
    return UserError(f"The server cannot write into its folder of uploads: {error.strerror or error}.")
