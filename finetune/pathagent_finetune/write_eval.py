"""How well a VLM writes: report sentences on simulated cases of unseen seeds, beside controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pathagent_finetune.corpus import belief, sentences, simulate
from pathagent_finetune.corpus.example import Example
from pathagent_finetune.corpus.examples import write_request
from pathagent_finetune.role_eval import LEDGERS, Table, ask, cases
from pathagent_tools.core.protocols import VisionLanguageModel
from pathagent_tools.core.records import Evidence
from pathagent_tools.core.scoring.report import values
from pathagent_tools.core.scoring.resampling import bootstrap

_SLOTS = ("architecture", "nuclear_grade", "mitoses", "necrosis", "inflammation")


def write_table(vlm: VisionLanguageModel, n: int = 240) -> Table:
    """Facts that the text states, sentences whose every cited look shows them, and what else is named.

    The facts are those that the ledger warrants. Each score is given for the ledger of the case, for an
    empty one and for that of another case.
    """
    drawn = cases(n)
    table: Table = {"n": n, "metric": "facts that the ledger warrants, in the model's own sentences"}
    for name, ledger in LEDGERS.items():
        said = ask(vlm, [Example(write_request(ledger(drawn, i)), {}) for i in range(n)])
        written = [list(s.get("sentences", [])) for s in said]
        right = [_recall(case, text) for case, text in zip(drawn, written, strict=True)]
        row: Table = {"facts_right": _mean(right)}
        if name == "model":
            cited = [_shown(case, s) for case, text in zip(drawn, written, strict=True) for s in text]
            rest = [_rest(case, s) for case, text in zip(drawn, written, strict=True) for s in text]
            row["cited_looks_show_the_sentence"] = _mean([float(c) for c in cited if c is not None])
            row["other_tissue_named_rightly"] = _mean([float(r) for r in rest if r is not None])
        table[name] = row
    return table


def _mean(scores: Sequence[float]) -> str:
    return str(bootstrap(scores, list(range(len(scores))))) if scores else "none"


def _recall(case: simulate.Case, written: Sequence[Mapping[str, Any]]) -> float:
    leading = belief.differential(case.evidence)[0]
    wanted = {slot: value for slot, (value, _) in belief.report_facts(case.evidence, leading).items()}
    texts = [str(s.get("text", "")) for s in written]
    found = values(" ".join(text for text in texts if sentences.named_elsewhere(text) is None))
    wanted["diagnosis"] = leading.diagnosis
    return sum(found.get(slot) == frozenset([value]) for slot, value in wanted.items()) / len(wanted)


def _cited(case: simulate.Case, sentence: Mapping[str, Any]) -> list[Evidence]:
    cites = set(sentence.get("cites", []))
    return [e for e in case.evidence if e.id in cites]


def _shown(case: simulate.Case, sentence: Mapping[str, Any]) -> bool | None:
    """Whether every cited look shows what a sentence on one of the slots says; None for other sentences."""
    text = str(sentence.get("text", ""))
    said = values(text) if sentences.named_elsewhere(text) is None else {}
    slots = [slot for slot in _SLOTS if slot in said and "diagnosis" not in said]
    if not slots:
        return None
    looks = [e.findings for e in _cited(case, sentence) if e.findings]
    named = [(slot, value) for slot in slots for value in said[slot]]
    return bool(looks) and all(belief.shows(f, slot, value) for slot, value in named for f in looks)


def _rest(case: simulate.Case, sentence: Mapping[str, Any]) -> bool | None:
    """Whether it names each tissue once, as a cited look shows, none of the lesion's."""
    tissues = sentences.named_elsewhere(str(sentence.get("text", "")))
    if tissues is None:
        return None
    leading = belief.differential(case.evidence)[0]
    shown = {e.findings.tissue for e in _cited(case, sentence) if e.findings}
    return len(set(tissues)) == len(tissues) and set(tissues) <= shown - sentences.of_lesion(leading)
