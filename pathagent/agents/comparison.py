"""Comparison: passages and similar cases of the user's beside the finished draft. Asks no model.

It runs after everything that judges, so nothing that it finds can change a sentence, a probability or a
verdict. Nor do passages go into the diagnosis prompt: that would let a text of unknown origin steer the
draft, the embedded model has room for 2,048 tokens and was trained on none of them, and whether they would
help has not been measured. They are shown beside the draft, for the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathagent.resources import Resources
from pathagent.state import CompareWith, State, evidence_list
from pathagent_tools.core.compare import Compared, Passage, SimilarCase
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Evidence

if TYPE_CHECKING:
    from pathagent.compare.knowledge import Knowledge
    from pathagent_tools.encoders.case_index import CaseIndex


def compare_with(knowledge: str | Path | None, cases: str | Path | None) -> CompareWith:
    """What the user gave, read and digested. UserError where it cannot be read, before any work starts."""
    from pathagent.compare.knowledge import read_knowledge
    from pathagent_tools.encoders.case_index import index_digest

    given: dict[str, str] = {}
    if knowledge is not None:
        read = read_knowledge(knowledge)
        given |= {"knowledge": str(read.folder.resolve()), "knowledge_digest": read.sha256}
    if cases is not None:
        folder = Path(cases).expanduser()
        given |= {"index": str(folder.resolve()), "index_digest": index_digest(folder)}
    return CompareWith(**given)


def open_index(resources: Resources, given: CompareWith) -> CaseIndex:
    """The case index as it was when the run began. UserError: of another encoder, damaged, changed."""
    from pathagent_tools.encoders.case_index import CaseIndex, index_digest

    encoder = resources.encoder
    index = CaseIndex.open(Path(given.index), encoder=encoder.id, revision=encoder.revision)
    if index_digest(Path(given.index)) != given.index_digest:
        raise UserError(f"{given.index} has changed since this run began. Start the run again.")
    return index


def compare(resources: Resources, state: State) -> dict[str, Any]:
    """The section "Compare", where the case names something to compare with."""
    given = state["case"].compare
    if given == CompareWith():
        return {}
    passages: list[Passage] = []
    cases: list[SimilarCase] = []
    said: list[str] = []
    if given.knowledge:
        passages, told = _passages(resources, state, given)
        said.append(told)
    if given.index:
        cases, told = _cases(resources, state, given)
        said.append(told)
    return {"compared": Compared(passages=tuple(passages), cases=tuple(cases), said=tuple(said))}


def _passages(resources: Resources, state: State, given: CompareWith) -> tuple[list[Passage], str]:
    from pathagent.compare.criteria import find_passages, searches_of
    from pathagent.report.words import plural

    knowledge = open_knowledge(given)
    held = f"{len(knowledge.pieces):,} passages of {plural(len(knowledge.texts), 'file')}"
    searches = searches_of(state.get("differential", []), _telling(state))
    if not searches:
        return [], f"{held} were not searched: nothing was described."
    words = [search.must for search in searches]
    found = resources.tool("find_passages", lambda: find_passages(knowledge, searches), searches=words)
    without = [word for word in words if not any(word in p.asked for p in found)]
    told = f"{held} were searched for: {'; '.join(words)}."
    return found, f"{told} No passage speaks of: {'; '.join(without)}." if without else told


def open_knowledge(given: CompareWith) -> Knowledge:
    """The folder as it was when the run began. UserError where it has changed since."""
    from pathagent.compare.knowledge import read_knowledge

    knowledge = read_knowledge(given.knowledge)
    if knowledge.sha256 != given.knowledge_digest:
        raise UserError(f"{given.knowledge} has changed since this run began. Start the run again.")
    return knowledge


def _telling(state: State) -> Sequence[Evidence]:
    """The looks that the diagnosis cites; all of them where none is drafted."""
    looked = evidence_list(state)
    cited = {i for c in state.get("claims", []) if c.section == "diagnosis" for i in c.evidence}
    return [e for e in looked if e.id in cited] or looked


def _cases(resources: Resources, state: State, given: CompareWith) -> tuple[list[SimilarCase], str]:
    from pathagent.compare.cases import similar_cases
    from pathagent_tools.encoders.slide_text import embed_slide

    encoder, index = resources.encoder, open_index(resources, given)
    held = f"an index of {len(index.manifest.cases):,} slides"
    records = state["slides"].values()
    known = [r.id for r in records if r.outcome == "report" and resources.encoder_knows(r.id)]
    read = [s for s in known if len(resources.slide(s).features.features)]
    if not read:
        return [], f"No similar case was looked for in {held}: no slide shows tissue that the encoder knows."
    slides = {
        s: (resources.slide(s).slide.digest, embed_slide(resources.slide(s).features.features, encoder))
        for s in read
    }
    found = resources.tool("similar_cases", lambda: similar_cases(index, slides), slides=read)
    return found, f"Similar cases were looked for in {held}."
