"""The one progress line: what the run does now, on standard error, silent when that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pathagent.events import Believed, Event, Looked, NodeStarted, RunFinished

NODES: Final = {
    "triage": "triage: quality, tissue and a question-free scan",
    "navigation": "navigation: where to look next",
    "description": "description: looking",
    "diagnosis": "diagnosis: what it adds up to",
    "measure": "measuring the slides",
    "write": "writing",
    "verify": "verifying each claim",
    "finish": "putting the report together",
}


@contextmanager
def shown_progress() -> Iterator[Callable[[Event], None] | None]:
    """A listener for the events of a run, or None where nobody watches.

    Looks and beliefs stay on the screen; what a node does now is one changing line below them.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("opening the slides") as status:

        def show(event: Event) -> None:
            if (kept := kept_line(event)) is not None:
                console.print(kept, markup=False)
            elif isinstance(event, NodeStarted) and event.node in NODES:
                status.update(NODES[event.node])

        yield show


def kept_line(event: Event) -> str | None:
    """The line that an event leaves on the screen; None for events that leave none."""
    if isinstance(event, Looked):
        return event.line
    if isinstance(event, Believed):
        enough = "enough" if event.sufficient else f"missing: {event.missing}"
        return f"after round {event.round}: {event.leading} ({event.probability:.0%}), {enough}"
    if isinstance(event, RunFinished):
        return event.text
    return None
