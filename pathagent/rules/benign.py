"""What a benign diagnosis must account for: tumour that a look shows, and what goes with one.

A model that weighs many looks may outvote the one that matters. A person would not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pathagent.rules.agreement import doubt
from pathagent_tools.core.records import Evidence

STRIKING: Final = frozenset({"invasive tumour", "dysplastic epithelium", "necrosis", "mucin"})
EXPLAINS: Final[Mapping[str, frozenset[str]]] = {
    "no significant abnormality": frozenset(),
    "chronic inflammation": frozenset(),
    "adenoma": frozenset({"dysplastic epithelium"}),
}
"""Benign diagnosis → the striking tissues that it accounts for; any other diagnosis accounts for all."""


def unexplained(looked: Iterable[Evidence], diagnosis: str) -> dict[str, list[str]]:
    """Striking tissue → the looks at it that a diagnosis does not account for."""
    if diagnosis not in EXPLAINS:
        return {}
    found: dict[str, list[str]] = {}
    for look in looked:
        tissue = look.findings.tissue if look.findings else ""
        if tissue in STRIKING - EXPLAINS[diagnosis]:
            found.setdefault(tissue, []).append(look.id)
    return found


def shown_against(looked: Iterable[Evidence], diagnosis: str) -> str:
    """What sound looks show that speaks against a benign diagnosis; empty where they show nothing such.

    Sound are looks that lie under no artifact and are read alike by model and encoder.
    """
    found = unexplained((e for e in looked if not doubt(e)), diagnosis)
    shown = (f"{', '.join(ids)} show{'s' if len(ids) == 1 else ''} {t}" for t, ids in found.items())
    said = " and ".join(shown)
    return f"{said}, which it does not explain" if said else ""
