"""`pathagent models list`: which models stand behind the tools, and whether they are here."""

from __future__ import annotations

from typing import Any

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.options import Json

app = typer.Typer(help="Models and profiles.")


@app.callback()
def _group() -> None:
    """Models and profiles."""


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the models of every profile: role, licence, revision, and whether the weights are here."""
    rows = profile_rows()
    if json:
        emit_json(rows)
        return
    for row in rows:
        emit("  ".join(str(value) for value in row.values()))


def profile_rows() -> list[dict[str, Any]]:
    """One row a model of a profile."""
    return []
