"""`summary.md` of a job: how many slides ended how, then one line a slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pathagent.encoding.state import SlideState
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY


def write_summary(out: Path, encoder: str, states: Sequence[SlideState]) -> None:
    """Write `OUT/summary.md`."""
    from pathagent.report.text import escape

    lines = [
        f"# Features by {escape(encoder)}",
        "",
        RESEARCH_USE_ONLY,
        "",
        "| status | slides |",
        "| --- | ---: |",
    ]
    lines += [f"| {status} | {n} |" for status, n in sorted(Counter(s.status for s in states).items())]
    lines += [
        "",
        "| slide | status | tiles | s | features, or why not |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for state in states:
        said = " · ".join(part for part in (state.features, state.reason) if part)
        cells = [escape(state.name), state.status, str(state.tiles), f"{state.seconds:.1f}", escape(said)]
        lines.append(f"| {' | '.join(cells)} |")
    write_text_atomic(out / "summary.md", "\n".join(lines) + "\n")
