"""A slide goes in, an evidence-linked report draft comes out. Research use only.

>>> import pathagent
>>> report = pathagent.draft_report("slide.svs", out="report")  # doctest: +SKIP
>>> answer = pathagent.ask("slide.svs", "Is there necrosis?").answer  # doctest: +SKIP

Importing this package loads no torch, no openslide, and touches no network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathagent.api import (
        aask,
        adraft_report,
        ask,
        astream_report,
        draft_report,
        resume_review,
        stream_report,
        view,
    )
    from pathagent.batches.call import batch
    from pathagent.batches.case import CaseResult
    from pathagent.budget import Budget
    from pathagent.case_search import index_cases, similar
    from pathagent.encoding.call import encode
    from pathagent.encoding.state import SlideState
    from pathagent.importance_map import ImportanceMap, slide_map
    from pathagent_tools.core.records import Report, Review

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "CaseResult",
    "ImportanceMap",
    "Report",
    "Review",
    "SlideState",
    "aask",
    "adraft_report",
    "ask",
    "astream_report",
    "batch",
    "draft_report",
    "encode",
    "index_cases",
    "resume_review",
    "similar",
    "slide_map",
    "stream_report",
    "view",
]
_HOMES = {
    "Budget": "pathagent.budget",
    "CaseResult": "pathagent.batches.case",
    "batch": "pathagent.batches.call",
    "encode": "pathagent.encoding.call",
    "index_cases": "pathagent.case_search",
    "similar": "pathagent.case_search",
    "ImportanceMap": "pathagent.importance_map",
    "slide_map": "pathagent.importance_map",
    "SlideState": "pathagent.encoding.state",
    "Report": "pathagent_tools.core.records",
    "Review": "pathagent_tools.core.records",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "pathagent.api")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
