"""What the user hands in besides slides: notes and limits, checked before any work starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from pathagent.budget import Budget

MAX_NOTES_BYTES: Final = 200_000


def read_notes(path: Path | None) -> str | None:
    """Text of a notes file. UserError where it is absent, too long or no UTF-8 text."""
    if path is None:
        return None
    if not path.is_file():
        raise UserError(f"No such notes file: {path}. Give a text file with --notes FILE.")
    if path.stat().st_size > MAX_NOTES_BYTES:
        raise UserError(f"{path} is larger than {MAX_NOTES_BYTES:,} bytes. Give the part that matters.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. Save it as plain text and give it again.") from None
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}. Give a text file with --notes FILE."
        ) from error


def read_region(text: str | None) -> tuple[int, int, int, int] | None:
    """`X,Y,WIDTH,HEIGHT` as numbers. UserError where it is not that."""
    from pathagent.asked_region import box_of

    return None if text is None else box_of(text)


def budget_of(*, looks: int | None, tokens: int | None, seconds: float | None) -> Budget | None:
    """The limits that were typed over the defaults; None where none was typed."""
    from pathagent.budget import Budget

    typed: dict[str, Any] = {"looks": looks, "tokens": tokens, "seconds": seconds}
    given = {name: value for name, value in typed.items() if value is not None}
    return Budget(**given) if given else None
