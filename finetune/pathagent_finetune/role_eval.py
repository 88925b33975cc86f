"""How well a VLM answers and weighs: its own answers on simulated cases of unseen seeds, beside controls.

Each score is given for the ledger of the case, for an empty one and for that of another case. What the
ledger warrants is known exactly (`corpus.belief`), so its accuracy is printed as the ceiling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from pathagent.agents.measured import measured_answer
from pathagent_finetune.corpus import belief, simulate
from pathagent_finetune.corpus.example import Example
from pathagent_finetune.corpus.examples import answer_example, diagnose_example, judge_example
from pathagent_finetune.corpus.questions import UNKNOWABLE, Question, draw_question
from pathagent_finetune.corpus.verdicts import shows_topic
from pathagent_tools.core.protocols import VisionLanguageModel
from pathagent_tools.core.scoring.calibration import expected_calibration_error
from pathagent_tools.core.scoring.classes import balanced_accuracy
from pathagent_tools.core.scoring.resampling import bootstrap
from pathagent_tools.vlm import roles
from pathagent_tools.vlm.roles import ANSWER_CLASSES

UNSEEN_CASES = 40_000_000_000
"""Seeds of the cases that roles are scored on start here; no training draws them."""
ONE_LOOK_TRIES = 8
"""Cases drawn for each question of one look: some ask for no yes or no, some have no look that fits."""
SETTLED = 0.95
"""The evidence itself gives a hypothesis at least this probability."""

Table = dict[str, Any]
Ledger = Callable[[Sequence[simulate.Case], int], simulate.Case]


def _own(cases: Sequence[simulate.Case], i: int) -> simulate.Case:
    return cases[i]


def _empty(cases: Sequence[simulate.Case], i: int) -> simulate.Case:
    return replace(cases[i], evidence=())


def _other(cases: Sequence[simulate.Case], i: int) -> simulate.Case:
    return replace(cases[i], evidence=cases[(i + 1) % len(cases)].evidence)


LEDGERS: dict[str, Ledger] = {"model": _own, "empty_ledger": _empty, "shuffled_ledger": _other}


def cases(n: int) -> list[simulate.Case]:
    """`n` cases that no training has drawn."""
    return [simulate.draw_case(UNSEEN_CASES + i) for i in range(n)]


def answer_table(vlm: VisionLanguageModel, n: int = 240) -> Table:
    """Strict accuracy on answerable questions, and how questions that no slide answers are told apart.

    Every second question is in a wording that no training uses. `answerable` is the bare model;
    `answerable_in_a_run` what `pathagent ask` says, where code measures counts of pieces and places.
    """
    drawn = cases(n)
    asked = [_question(case, i) for i, case in enumerate(drawn)]
    wanted = [answer_example(c, q, Random(0)).target for c, q in zip(drawn, asked, strict=True)]
    known = [q.kind != "not_assessable" for q in asked]
    table: Table = {"n": n, "metric": "exact answer, own words under the grammar"}
    for name, ledger in LEDGERS.items():
        examples = [answer_example(ledger(drawn, i), q, Random(0)) for i, q in enumerate(asked)]
        said = ask(vlm, examples)
        right = [s.get("answer") == w["answer"] for s, w in zip(said, wanted, strict=True)]
        row: Table = {"answerable": _share(right, known)}
        if name == "model":
            held_out = [k and i % 2 == 1 for i, k in enumerate(known)]
            row["answerable_held_out_wordings"] = _share(right, held_out)
            row["by_topic"] = _by_topic(asked, right)
            given = [_as_a_run(s, case) for s, case in zip(said, drawn, strict=True)]
            as_given = [g == w["answer"] for g, w in zip(given, wanted, strict=True)]
            row["answerable_in_a_run"] = _share(as_given, known)
            row["answerable_in_a_run_held_out_wordings"] = _share(as_given, held_out)
            row["answerable_but_counts_and_places"] = unmeasured(row["by_topic"])
            row |= _refusals([s.get("class") == ANSWER_CLASSES[1] for s in said], known)
        table[name] = row
    table["one look"] = _one_look(vlm, n // 2)
    common = Counter(str(w["answer"]) for w, k in zip(wanted, known, strict=True) if k).most_common(1)[0]
    table["majority"] = {"answer": common[0], "answerable": round(common[1] / sum(known), 4)}
    return table


def _one_look(vlm: VisionLanguageModel, n: int) -> Table:
    """Yes-or-no questions of a single look: in half of them it is one that shows what is asked for.

    As where a person asks about a region that they drew. A slide's other looks are not there to be read.
    """
    asked: list[tuple[simulate.Case, Question]] = []
    for i, case in enumerate(cases(ONE_LOOK_TRIES * n)):
        leading = belief.differential(case.evidence)[0].diagnosis
        question = draw_question(Random(f"one-look-{i}"), diagnosis=leading, held_out=i % 2 == 1)
        if question.kind != "yesno" or len(asked) == n:
            continue
        shown = [e.findings is not None and shows_topic(e.findings, question.topic) for e in case.evidence]
        wanted = len(asked) % 2 == 0
        if wanted in shown:
            look = case.evidence[shown.index(wanted)]
            asked.append((replace(case, evidence=(look,)), question))
    examples = [answer_example(case, question, Random(0)) for case, question in asked]
    right = [s.get("answer") == e.target["answer"] for s, e in zip(ask(vlm, examples), examples, strict=True)]
    shows = [i % 2 == 0 for i in range(len(asked))]
    by_topic = _by_topic([question for _, question in asked], right)
    return {
        "n": len(asked),
        "look_shows_it": _share(right, shows),
        "look_does_not": _share(right, [not s for s in shows]),
        "by_topic": by_topic,
    }


def _question(case: simulate.Case, i: int) -> Question:
    leading = belief.differential(case.evidence)[0].diagnosis
    return draw_question(Random(f"asked-{i}"), diagnosis=leading, held_out=i % 2 == 1)


def _share(right: Sequence[bool], keep: Sequence[bool]) -> str:
    values = [float(r) for r, k in zip(right, keep, strict=True) if k]
    return str(bootstrap(values, list(range(len(values)))))


def _by_topic(asked: Sequence[Question], right: Sequence[bool]) -> dict[str, str]:
    kinds: dict[str, list[bool]] = {}
    for question, ok in zip(asked, right, strict=True):
        kinds.setdefault(question.topic, []).append(ok)
    return {topic: f"{sum(hits)} of {len(hits)}" for topic, hits in sorted(kinds.items())}


def _as_a_run(said: Mapping[str, Any], case: simulate.Case) -> object:
    """What a run answers: counts and places by the code of the agents, all else by the model."""
    found = measured_answer(said, [("S1", case.pieces)], {e.id: e for e in roles.telling(case.evidence)})
    return found.text if found else said.get("answer")


MEASURED = ("pieces", "place")
"""Topics whose answer a run measures by code, whatever the model writes."""


def unmeasured(by_topic: Mapping[str, str]) -> str:
    """`205 of 214`: right answers to answerable questions that the model answers in a run."""
    rows = [v.split(" of ") for t, v in by_topic.items() if t not in (*MEASURED, *UNKNOWABLE)]
    return f"{sum(int(right) for right, _ in rows)} of {sum(int(n) for _, n in rows)}"


def _refusals(refused: Sequence[bool], known: Sequence[bool]) -> Table:
    """Recall and precision of saying that the slide cannot tell."""
    hidden = [not k for k in known]
    both = sum(r and h for r, h in zip(refused, hidden, strict=True))
    return {
        "cannot_tell_recall": round(both / max(1, sum(hidden)), 4),
        "cannot_tell_precision": round(both / max(1, sum(refused)), 4),
        "cannot_tell_n": sum(hidden),
    }


def diagnose_table(vlm: VisionLanguageModel, n: int = 240) -> Table:
    """Top-1 against the drawn diagnosis, its calibration, and whether sufficiency is judged rightly."""
    drawn = cases(n)
    settled = [belief.differential(c.evidence)[0].probability >= SETTLED for c in drawn]
    exact = [belief.differential(c.evidence)[0] for c in drawn]
    table: Table = {"n": n, "metric": "leading hypothesis against the drawn diagnosis"}
    for name, ledger in LEDGERS.items():
        said = ask(vlm, [diagnose_example(ledger(drawn, i), Random(0)) for i in range(n)])
        top: list[Table] = [
            max(s.get("differential", []), key=lambda h: int(h["percent"]), default={}) for s in said
        ]
        right = [t.get("diagnosis") == c.diagnosis for t, c in zip(top, drawn, strict=True)]
        row: Table = {"top1": _share(right, [True] * n)}
        if name == "model":
            row["top1_settled_evidence"] = _share(right, settled)
            row["ece"] = _ece([float(t.get("percent", 0)) / 100 for t in top], right)
            agrees = [t.get("diagnosis") == e.diagnosis for t, e in zip(top, exact, strict=True)]
            row["agrees_with_the_evidence"] = _share(agrees, [True] * n)
        table[name] = row
    ceiling = [e.diagnosis == c.diagnosis for e, c in zip(exact, drawn, strict=True)]
    table["ceiling"] = {
        "top1": _share(ceiling, [True] * n),
        "top1_settled_evidence": _share(ceiling, settled),
        "ece": _ece([e.probability for e in exact], ceiling),
    }
    table["sufficiency"] = _sufficiency(vlm, drawn)
    return table


def _ece(confidence: Sequence[float], right: Sequence[bool]) -> float:
    return round(expected_calibration_error(confidence, right).value, 4)


def _sufficiency(vlm: VisionLanguageModel, drawn: Sequence[simulate.Case]) -> Table:
    """Balanced accuracy of `sufficient`, on drafts and on questions, every second one on each."""
    found = []
    for i, case in enumerate(drawn):
        question = _question(case, 2 * i) if i % 2 else None
        found.append(judge_example(case, Random(i), question))
    said = ask(vlm, found)
    wanted = [str(e.target["sufficient"]) for e in found]
    got = [str(s.get("sufficient")) for s in said]
    rows = {"draft": slice(0, None, 2), "question": slice(1, None, 2), "all": slice(None)}
    return {
        name: round(balanced_accuracy(wanted[part], got[part]).value, 4) for name, part in rows.items()
    } | {"sufficient_share": round(float(np.mean([w == "True" for w in wanted])), 4)}


def ask(vlm: VisionLanguageModel, examples: Sequence[Example]) -> list[Table]:
    """The data of the model's answers; empty where an answer was unusable."""
    return [completion.data for completion in vlm.generate([e.request for e in examples])]
