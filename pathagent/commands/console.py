"""Where words go: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(text: str) -> None:
    """One line for the person at the terminal, on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit(text: str) -> None:
    """One line of the result, on standard output."""
    print(text, flush=True)


def emit_json(document: Any) -> None:
    """The whole result as one JSON document on standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False), flush=True)
