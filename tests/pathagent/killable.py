"""A run in a process of its own that kills itself (SIGKILL) when the n-th matching event is kept.

Arguments: slide, out, "kind:node:count" or "never". Keeps the run's folder, so that its events can be read.
"""

from __future__ import annotations

import os
import signal
import sys

from stand_ins import PROFILE, ColourEncoder, LookingModel

import pathagent
from pathagent import runs
from pathagent.events import Event, EventLog


def kill_at(point: str) -> None:
    """Replace the log's `keep` by one that dies at the point, just after the line is written."""
    kind, node, count = point.split(":")
    keep, seen = EventLog.keep, []

    def keep_and_die(self: EventLog, event: Event) -> None:
        keep(self, event)
        if event.kind == kind and getattr(event, "node", "") == node:
            seen.append(event)
            if len(seen) == int(count):
                os.kill(os.getpid(), signal.SIGKILL)

    EventLog.keep = keep_and_die  # type: ignore[method-assign]


if __name__ == "__main__":
    slide, out, point = sys.argv[1:]
    runs.Work.discard = lambda self: None  # type: ignore[method-assign]
    if point != "never":
        kill_at(point)
    pathagent.draft_report(
        slide, out=out, force=True, vlm=LookingModel(), encoder=ColourEncoder(), profile=PROFILE
    )
