"""The memory of a server that runs for weeks: what is freed goes back to the system."""

from __future__ import annotations

import ctypes
from typing import Final

LARGE: Final = 1 << 20
"""Bytes from which on a block is mapped on its own, so that freeing it gives it back."""
_M_MMAP_THRESHOLD: Final = -3


def give_back_large_blocks() -> None:
    """Let glibc map tensors and pictures on their own, always; another C library is left as it is.

    By default glibc stops doing so for blocks up to 32 MiB once it has freed one of that size. They then lie
    among small long-lived ones in a heap per thread, and each heap stays as large as it has ever been.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_THRESHOLD, LARGE)
