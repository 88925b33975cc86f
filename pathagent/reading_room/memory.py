"""The memory of a server that runs for weeks: what a run has freed goes back to the system at its end."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Final

LARGE: Final = 32 << 20
"""Bytes from which on a block is mapped on its own, so that freeing it gives it back; glibc takes no more."""
_M_ARENA_MAX: Final = -8
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_NEVER: Final = (1 << 31) - 1


def keep_freed_blocks() -> None:
    """Let glibc keep what is freed until `give_back`, in one heap; another C library is left as it is.

    A network frees its tensors after every layer: given back at once, the next are mapped and zeroed again,
    which doubles the seconds of a scan. With a heap per thread each would be as large as the largest.
    """
    if library := _glibc():
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back() -> None:
    """Give all free pages back to the system, those between blocks in use too; takes milliseconds."""
    if library := _glibc():
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
