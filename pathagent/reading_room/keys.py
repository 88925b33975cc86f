"""Secrets of a data folder: made once, kept beside the cases, readable by their owner alone."""

from __future__ import annotations

import secrets
from pathlib import Path

from pathagent_tools.core.files import write_bytes_atomic


def kept_key(path: Path) -> bytes:
    """The 32 random bytes of that file, which is made where it is absent."""
    if not path.is_file():
        write_bytes_atomic(path, secrets.token_bytes(32))
        path.chmod(0o600)
    return path.read_bytes()
