"""An output folder that is either whole or absent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pathagent_tools.core.errors import UserError


def check_folder(out: Path, *, force: bool) -> None:
    """Raise UserError where `out` cannot become an output folder: filled, a file, or not writable.

    Called before any work starts, so that minutes of work are not lost at the end. Tries the nearest
    existing parent with a temporary entry, which is removed again.
    """
    if out.is_dir():
        if any(out.iterdir()) and not force:
            raise UserError(
                f"{out} is not empty. Choose another folder with --out, or add --force to replace it."
            )
    elif out.exists():
        raise UserError(f"{out} is a file, not a folder. Choose a folder with --out.")
    parent = _existing(out.absolute().parent)
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".pathagent-"):
            pass
    except OSError as error:
        raise unwritable(out, error) from error


def unwritable(out: Path, error: OSError) -> UserError:
    """What a full disk or a folder without permission gets."""
    return UserError(
        f"Cannot write {out}: {error.strerror or error}. "
        "Choose a folder that you may write to with --out, on a disk with room."
    )


@contextmanager
def whole_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends well and vanishes when it does not.

    With `force`, a filled `out` survives until the new one is complete.
    """
    check_folder(out, force=force)
    out = out.absolute()
    staging = _staging(out)
    try:
        yield staging
        _swap(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, out: Path) -> None:
    """Put `staging` in the place of `out`; the old folder is deleted last, or put back."""
    if not out.exists():
        staging.rename(out)
        return
    attic = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    out.rename(attic / "old")
    try:
        staging.rename(out)
    except OSError:
        (attic / "old").rename(out)
        raise
    finally:
        shutil.rmtree(attic)


def _staging(out: Path) -> Path:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    except OSError as error:
        raise unwritable(out, error) from error
    staging.chmod(0o755)
    return staging


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
