"""Score report texts that any system made against reference texts, beside what needs no slide.

Facts come first: slots of the report, contradictions, omissions, numeric and critical errors. N-gram scores
stand beside them because papers print them. A failed or missing prediction and an abstention score nothing
and stay in every denominator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pathagent_eval.floors import commonest_facts, commonest_text, shuffled_texts
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_file, write_text_atomic
from pathagent_tools.core.references import Prediction, read_predictions, read_references
from pathagent_tools.core.scoring import ngrams
from pathagent_tools.core.scoring.report import SLOTS, Comparison, Fact, compare, extract
from pathagent_tools.core.scoring.report.score import SIGNATURE
from pathagent_tools.core.scoring.resampling import FEWEST_CLUSTERS, Gain, Resampling

PRIMARY: Final = "fact_f1"
ERRORS: Final = ("contradictions", "omissions", "additions", "numeric_errors", "critical_errors")


class Scored(NamedTuple):
    """The cases of a table, in order: what was wanted of each and what was said."""

    cases: list[str]
    patients: list[str]
    references: list[str]
    predictions: list[Prediction]

    @property
    def texts(self) -> list[str | None]:
        """What is scored: nothing for a failure or an abstention, whatever stands in its text."""
        return [p.text if p.status == "report" else None for p in self.predictions]

    def count(self, status: str) -> int:
        """How many predictions are of a status."""
        return sum(p.status == status for p in self.predictions)


def score_predictions(
    predictions: Path, references: Path, out: Path, *, metrics: Sequence[str] = ("facts",), seed: int = 0
) -> dict[str, Any]:
    """Score two tables; writes `scores.json`, `scores.md` and `cases.jsonl` into `out`, returns the first.

    predictions: CSV or JSONL with `case,text` (and `status`). references: with `case,reference` (and
    `patient`). metrics: of `ngrams.check_metrics`; the fact score is always among them.
    UserError where the tables do not match or no reference states a fact.
    """
    scored = _matched(predictions, references)
    draws = Resampling(scored.patients, seed=seed)
    wanted = [extract(text) for text in scored.references]
    if not any(wanted):
        raise UserError(
            f"No reference in {references} states a fact that is known. Are they pathology reports?"
        )
    compared = [compare(extract(text or ""), facts) for text, facts in zip(scored.texts, wanted, strict=True)]
    result: dict[str, Any] = {
        "n": len(scored.cases),
        "n_failed": scored.count("failed"),
        "n_abstained": scored.count("abstained"),
        "n_unparsed": sum(text is not None and not extract(text) for text in scored.texts),
        "n_patients": draws.clusters,
        "method": draws.method,
        "predictions_sha256": sha256_file(predictions),
        "references_sha256": sha256_file(references),
        "primary": _primary(scored, wanted, compared, draws),
        "slots": _slots(compared, draws),
        "errors": _errors(compared, draws),
        "ngrams": _ngrams(scored, [m for m in metrics if m != "facts"], draws),
    }
    from pathagent_eval.score_table import markdown

    write_text_atomic(
        out / "cases.jsonl", "".join(_line(*row) for row in zip(scored.cases, compared, strict=True))
    )
    write_text_atomic(out / "scores.json", json.dumps(result, indent=2) + "\n")
    write_text_atomic(out / "scores.md", markdown(result))
    return result


def _matched(predictions: Path, references: Path) -> Scored:
    """The two tables side by side. A case without a prediction has failed; a stranger is an error."""
    wanted, said = read_references(references), read_predictions(predictions)
    strangers = sorted(set(said) - set(wanted))
    if strangers:
        raise UserError(
            f"{len(strangers)} predictions have no reference, {strangers[0]} first. "
            f"Add them to {references}, or drop them."
        )
    if not set(said) & set(wanted):
        raise UserError(f"No case of {references} is predicted in {predictions}. Compare their column case.")
    cases = sorted(wanted)
    return Scored(
        cases=cases,
        patients=[wanted[case][1] or case for case in cases],
        references=[wanted[case][0] for case in cases],
        predictions=[said.get(case, Prediction(None, "failed")) for case in cases],
    )


def _f1(compared: Sequence[Comparison], slot: str | None = None) -> tuple[list[float], list[float]]:
    """(2 × right, said + wanted) of each case, in one slot or in all: their sums make F1."""
    counts = [c.slots[slot] if slot else c.all for c in compared]
    return [2.0 * c.right for c in counts], [float(c.said + c.wanted) for c in counts]


def _primary(
    scored: Scored, wanted: Sequence[frozenset[Fact]], compared: Sequence[Comparison], draws: Resampling
) -> dict[str, Any]:
    """Fact F1 of the system and of what needs no slide, and whether the difference can be told from none."""
    constant = commonest_facts(wanted)
    blind = {
        "commonest text": [extract(text) for text in commonest_text(scored.references)],
        "commonest facts": [constant] * len(wanted),
        "another case's": [extract(t) for t in shuffled_texts(scored.references, scored.patients)],
        "silence": [frozenset[Fact]()] * len(wanted),
    }
    parts = {
        name: _f1([compare(s, w) for s, w in zip(said, wanted, strict=True)]) for name, said in blind.items()
    }
    floors = {name: draws.ratio(*part) for name, part in parts.items()}
    best = max(floors, key=lambda name: floors[name].value)
    gain = draws.gain(_f1(compared), parts[best])
    return {
        "name": PRIMARY,
        "score": draws.ratio(*_f1(compared)).model_dump(),
        "floors": {name: floor.model_dump() for name, floor in floors.items()},
        "best_floor": best,
        "gain": gain.model_dump(),
        "verdict": _verdict(gain, best),
        "signature": SIGNATURE,
    }


def _verdict(gain: Gain, floor: str) -> str:
    if gain.clusters < FEWEST_CLUSTERS:
        return f"too few patients to tell ({gain.clusters} of {FEWEST_CLUSTERS})"
    return f"above {floor!r}" if gain.verdict == "better" else f"not above {floor!r}"


def _slots(compared: Sequence[Comparison], draws: Resampling) -> dict[str, dict[str, Any]]:
    """Precision, recall and F1 of each slot that a reference or the system speaks of."""
    table = {}
    for slot in SLOTS:
        counts = [c.slots[slot] for c in compared]
        right, said, wanted = ([float(getattr(c, k)) for c in counts] for k in ("right", "said", "wanted"))
        if sum(said) + sum(wanted):
            table[slot] = {
                "f1": draws.ratio(*_f1(compared, slot)).model_dump(),
                "precision": draws.ratio(right, said).model_dump(),
                "recall": draws.ratio(right, wanted).model_dump(),
                "said": int(sum(said)),
                "wanted": int(sum(wanted)),
            }
    return table


def _errors(compared: Sequence[Comparison], draws: Resampling) -> dict[str, dict[str, Any]]:
    """How many errors of each kind, and the share of cases that have one."""
    table = {}
    for kind in ERRORS:
        counts = [len(getattr(c, kind)) for c in compared]
        table[kind] = {"count": sum(counts), "cases": draws.mean([float(n > 0) for n in counts]).model_dump()}
    return table


def _ngrams(scored: Scored, metrics: Sequence[str], draws: Resampling) -> dict[str, dict[str, Any]]:
    """Each n-gram score: over the corpus as papers print it, and as a mean over cases with its interval."""
    table: dict[str, dict[str, Any]] = {}
    floors = {
        "commonest text": commonest_text(scored.references),
        "another case's": shuffled_texts(scored.references, scored.patients),
    }
    for metric in metrics:
        ours = ngrams.METRICS[metric](scored.texts, scored.references)
        blind = {name: ngrams.METRICS[metric](t, scored.references) for name, t in floors.items()}
        for i, score in enumerate(ours):
            table[score.name] = {
                "corpus": score.value,
                "mean": draws.mean(score.items).model_dump(),
                "floors_corpus": {name: scores[i].value for name, scores in blind.items()},
                "signature": score.signature,
            }
    return table


def _line(case: str, compared: Comparison) -> str:
    """One case in `cases.jsonl`: its counts and each error in words."""
    errors = {kind: getattr(compared, kind) for kind in ERRORS}
    counts = compared.all
    row = {"case": case, "fact_f1": round(counts.f1, 4), **counts._asdict(), **errors}
    return json.dumps(row, ensure_ascii=False) + "\n"
