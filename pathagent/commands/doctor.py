"""`pathagent doctor`: is everything there that a run needs, and if not, what to type."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

import typer

from pathagent.commands.check import Check
from pathagent.commands.console import emit, emit_json
from pathagent.commands.options import Json, Profile

MIN_FREE_GB: Final = 2.0
MIN_MEMORY_GB: Final = 3.0
MIN_OPENSLIDE_BIN: Final = (4, 0, 1, 2)


def doctor(profile: Profile = "embedded", json: Json = False) -> None:
    """Check readers, memory, disk and what a profile needs; each problem comes with its fix."""
    checks = list(run_checks(profile))
    if json:
        emit_json([asdict(check) for check in checks])
    else:
        for check in checks:
            emit(
                f"{check.state:<8}  {check.name:<16}  {check.found}"
                + (f" → {check.fix}" if check.fix else "")
            )
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(2)


def run_checks(profile: str = "embedded") -> Iterator[Check]:
    """Every check, in the order in which a user would mend them. UserError on an unknown profile."""
    from pathagent.commands.profile_checks import profile_checks
    from pathagent_tools.vlm.profile import load_profile

    chosen = load_profile(profile)
    parts: tuple[Callable[[], Check], ...] = (
        _python,
        _slide_reader,
        _decoder,
        _cache,
        _memory,
        _gpu,
    )
    for part in parts:
        yield part()
    yield from profile_checks(chosen)


def _python() -> Check:
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check(
        "python",
        "ok" if good else "missing",
        platform.python_version(),
        "" if good else "use Python 3.11 to 3.13",
    )


def _slide_reader() -> Check:
    try:
        found = version("openslide-bin")
    except PackageNotFoundError:
        return Check("openslide", "missing", "not installed", "pip install 'openslide-bin>=4.0.1.2'")
    if tuple(int(part) for part in found.split(".")[:4] if part.isdigit()) < MIN_OPENSLIDE_BIN:
        return Check("openslide", "missing", f"{found} is too old", "pip install -U 'openslide-bin>=4.0.1.2'")
    return Check("openslide", "ok", found)


def _decoder() -> Check:
    """A slide is decoded in a child process: prove that one starts."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", "import openslide"], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return Check("decoder process", "ok", "starts")
    return Check(
        "decoder process", "missing", done.stderr.strip().splitlines()[-1], "pathagent needs openslide"
    )


def _cache() -> Check:
    from platformdirs import user_cache_path

    folder = Path(os.environ.get("PATHAGENT_CACHE") or user_cache_path("pathagent"))
    place = folder
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Check(
            "cache folder", "missing", f"{folder} is not writable", "set PATHAGENT_CACHE to a folder of yours"
        )
    free = shutil.disk_usage(place).free / 1e9
    state: Literal["ok", "missing"] = "ok" if free >= MIN_FREE_GB else "missing"
    return Check(
        "cache folder", state, f"{folder}, {free:.0f} GB free", "" if state == "ok" else "free some space"
    )


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    state: Literal["ok", "missing"] = "ok" if total >= MIN_MEMORY_GB else "missing"
    fix = "" if state == "ok" else f"a run needs up to {MIN_MEMORY_GB:.0f} GB"
    return Check("memory", state, f"{total:.0f} GB, {os.cpu_count()} cores", fix)


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("GPU", "ok", torch.cuda.get_device_name(0))
    return Check("GPU", "optional", "none", "only hub models need one")
