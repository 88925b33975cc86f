"""Whether what a claim says and what a look shows agree, held to the words in which the model named both;
and whether the look itself is sound.

The check names what is said and what is seen before its verdict. Where the two are the same, that is
support, whatever the verdict; where both are values of one slot and differ, it is none. Words outside the
vocabulary are left to the model's verdict.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pathagent.agents.coverage import PLACES
from pathagent_tools.core.records import Evidence
from pathagent_tools.core.vocabulary import DIAGNOSES, SLOTS
from pathagent_tools.encoders.tissue_map import SHARE_OF, mapped_tissues, tumour_grade

_NAMED: Final = ("grade", "mitoses", "necrosis", "inflammation")
"""Slots whose values are written after the slot's word: `grade high`."""
_BARE: Final[dict[str, str]] = {
    **{value: slot for slot in ("tissue", "architecture") for value in SLOTS[slot] if value != "none"},
    **dict.fromkeys(DIAGNOSES, "diagnosis"),
    **dict.fromkeys(PLACES, "place"),
}
_ARTIFACTS: Final = re.compile(
    rf"\b(artifact|artefact|{'|'.join(a for a in SLOTS['artifact'] if a != 'none')})", re.IGNORECASE
)
_SILENT: Final = ("none", "grade none", "no significant abnormality")
"""What a look shows that carries nothing of the kind: it neither supports nor contradicts."""


def verdict_of(data: Mapping[str, Any] | None) -> str:
    """`supported`, `contradicted` or `unsupported`; empty where the answer to `roles.verify` was unusable."""
    said, seen = (str((data or {}).get(key, "")).strip().casefold() for key in ("said", "seen"))
    parts = said.split(", ")
    if seen and seen in (said, *parts):
        return "supported"
    verdict = str((data or {}).get("verdict", ""))
    kind = _kind(seen)
    if verdict == "supported" and (seen in _SILENT or (kind and all(_kind(p) == kind for p in parts))):
        return "unsupported" if seen in _SILENT else "contradicted"
    return verdict


def doubt(look: Evidence, said: str = "") -> str:
    """Why no sentence, or not the one that is `said`, may rest on what a look shows; empty where it may.

    What lies under a fold or out of focus is no finding; nor is what two models, the one that describes and
    the encoder that reads the field on its own, see differently: its tissue, and necrosis that is said to be
    there.
    """
    from pathagent_tools.core.scoring.report import values

    found = look.findings
    if found is None:
        return ""
    if found.artifact != "none":
        return found.artifact
    mapped = mapped_tissues(look.measurements)
    if mapped and mapped[0] != found.tissue:
        return f"described as {found.tissue}, {mapped[0]} to the encoder"
    necrotic = any(m.name == f"{SHARE_OF}necrosis" for m in look.measurements)
    if mapped and not necrotic and "present" in values(said).get("necrosis", ()):
        return "no necrosis to the encoder"
    return ""


def open_grade(looks: Iterable[Evidence]) -> str:
    """Why the nuclear grade of a tumour is left open; empty where it is not, or was not read twice.

    One look may be read a grade too low or too high. Over all looks at the tumour the model's commonest grade
    and the encoder's are the same, unless one of the two is wrong.
    """
    both = [
        (e.findings.nuclear_grade, read)
        for e in looks
        if e.findings and e.findings.tissue == "invasive tumour" and (read := tumour_grade(e.measurements))
    ]
    model, encoder = _commonest([m for m, _ in both]), _commonest([e for _, e in both])
    if not both or set(model) & set(encoder):
        return ""
    told = f"{' or '.join(model)} nuclear grade to the model, {' or '.join(encoder)} to the encoder"
    return f"most looks show {told}"


def _commonest(words: Sequence[str]) -> list[str]:
    counts = Counter(words)
    return [word for word, n in counts.items() if n == max(counts.values())]


def of_artifacts(text: str) -> bool:
    """Whether a sentence speaks of an artifact, which a look shows that has it."""
    return _ARTIFACTS.search(text) is not None


def _kind(words: str) -> str:
    """The slot of which words are a value; empty where they are none."""
    if words in _BARE:
        return _BARE[words]
    first, _, rest = words.partition(" ")
    if first in _NAMED and rest:
        return first
    topic, _, state = words.rpartition(" ")
    return topic if topic and state in ("present", "absent") else ""
