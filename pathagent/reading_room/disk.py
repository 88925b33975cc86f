"""A full disk, as the system or the database tells of it, and what a reader hears."""

from __future__ import annotations

import errno
from typing import Final

from sqlalchemy.exc import OperationalError

from pathagent_tools.core.errors import UserError

FULL: Final = (
    "The disk of the server is full. Free some room there, then try again; nothing else was changed."
)


class DiskFullError(UserError):
    """What is sent or written does not fit on the disk."""

    kind = "disk full"


def is_full(error: BaseException | None) -> bool:
    """Whether the error says so. SQLite: `database or disk is full`; PostgreSQL: the system's words."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    said = str(error.orig) if isinstance(error, OperationalError) else ""
    return "disk is full" in said or "No space left" in said
