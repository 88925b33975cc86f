"""What a text states of each slot, in words: facts as answers, and as the slots of a look."""

from __future__ import annotations

from typing import Final

from pathagent_tools.core.scoring.report.extract import extract
from pathagent_tools.core.scoring.report.fact import Fact

_KEY_IS_VALUE: Final = ("specimen", "organ", "procedure", "diagnosis", "extent", "architecture")
_GRADES: Final = {"dysplasia": "{}-grade dysplasia", "tier": "{}-grade"}


def values(text: str) -> dict[str, frozenset[str]]:
    """Slot → what the text states: `{"diagnosis": {"adenocarcinoma"}, "grade": {"grade 2"}}`.

    What is denied or left open is left out where a slot names things (diagnosis, architecture, …); a slot
    of amounts says `none` or `absent`, in the words of `core.vocabulary`.
    """
    said: dict[str, set[str]] = {}
    for fact in extract(text):
        if (words := _words(fact)) is not None:
            said.setdefault(fact.slot, set()).add(words)
    return {slot: frozenset(found) for slot, found in said.items()}


def _words(fact: Fact) -> str | None:
    if fact.slot in _KEY_IS_VALUE:
        return fact.key if fact.value == "present" else None
    if fact.slot == "grade":
        return _GRADES.get(fact.key, f"{fact.key} {{}}").format(fact.value)
    if fact.slot in ("nodes", "stage", "biomarker", "measurement"):
        return f"{fact.key} {fact.value}"
    return fact.value
