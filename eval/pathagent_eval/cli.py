"""`pathagent eval …`: scored runs. Found by the command line through its entry point."""

from __future__ import annotations

import typer

app = typer.Typer(help="Score models and reports, with controls and intervals.")


@app.callback()
def _group() -> None:
    """Score models and reports, with controls and intervals."""
