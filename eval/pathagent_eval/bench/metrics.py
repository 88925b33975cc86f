"""The metrics that a benchmark's YAML may name: from items and what was said of them to a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from pathagent_eval.bench import looks, masks, perturbed
from pathagent_eval.bench.column import Column, of_all, of_items
from pathagent_eval.bench.item import Item, Said
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring import calibration, classes, ngrams, vqa
from pathagent_tools.core.scoring.report import Comparison, compare, extract
from pathagent_tools.core.scoring.report.score import SIGNATURE
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

Items = Sequence[Item]
Saids = Sequence[Said]
Made = Callable[..., Column]


def column(name: str, items: Items, said: Saids, **options: Any) -> Column:
    """The column of a metric. UserError on a name that is not known."""
    if name not in METRICS:
        raise UserError(f"Unknown metric {name!r}. Known: {', '.join(METRICS)}.")
    return METRICS[name](items, said, **options)


def compared(items: Items, said: Saids) -> list[Comparison]:
    """The facts of each text beside those of its reference."""
    return [
        compare(extract(s.scored_text or ""), extract(i.reference)) for i, s in zip(items, said, strict=True)
    ]


def fact_f1(items: Items, said: Saids) -> Column:
    """F1 over all facts of all items."""
    counts = [c.all for c in compared(items, said)]
    return Column(
        signature=SIGNATURE,
        top=[2.0 * c.right for c in counts],
        bottom=[float(c.said + c.wanted) for c in counts],
        unparsed=sum(not (s.scored_text or "").strip() for s in said),
    )


def errors(items: Items, said: Saids, *, kind: str) -> Column:
    """Errors of one kind for each fact that is said (contradictions) or wanted (omissions)."""
    found = compared(items, said)
    below = [c.all.wanted if kind == "omissions" else c.all.said for c in found]
    return Column(
        signature=f"{SIGNATURE.split(',')[0]}, {kind} a fact",
        top=[float(len(getattr(c, kind))) for c in found],
        bottom=[float(b) for b in below],
        higher_is_better=False,
    )


def ngram(items: Items, said: Saids, *, name: str, part: int = 0) -> Column:
    """A score of `scoring.ngrams`."""
    texts, wanted = [s.scored_text for s in said], [i.reference for i in items]
    return of_items(ngrams.METRICS[name](texts, wanted)[part])


def strict(items: Items, said: Saids) -> Column:
    """Share of answers that a careful reader takes as right."""
    return of_items(vqa.vqa_strict(*_answers(items, said)))


def compat(items: Items, said: Saids, *, rule: str) -> Column:
    """Share of answers that the benchmark's own rule counts as right, of those that it speaks of."""
    score = vqa.vqa_compat(*_answers(items, said), rule=rule)
    asked = [float(bool(i.options) or rule == "exact") for i in items]
    return Column(
        signature=score.signature,
        top=[s * a for s, a in zip(score.items, asked, strict=True)],
        bottom=asked,
        unparsed=score.missing,
    )


def _answers(items: Items, said: Saids) -> tuple[list[str | None], list[str], list[tuple[str, ...]]]:
    said_texts = [NOT_ASSESSABLE if s.status == "abstained" else s.scored_text for s in said]
    return said_texts, [i.reference for i in items], [i.options for i in items]


def balanced_accuracy(items: Items, said: Saids) -> Column:
    """Each item weighs as much as its class has few: the sum is the mean recall over classes."""
    truth = [i.reference for i in items]
    score = classes.balanced_accuracy(truth, labels(items, said))
    return _balanced(truth, score.items, score.signature, score.missing)


def _balanced(truth: Sequence[str], right: Sequence[float], signature: str, missing: int) -> Column:
    weights = [len(truth) / Counter(truth)[label] for label in truth]
    return Column(
        signature=signature,
        top=[r * w for r, w in zip(right, weights, strict=True)],
        bottom=weights,
        unparsed=missing,
    )


def accuracy(items: Items, said: Saids) -> Column:
    """Share of labels that are right."""
    return of_items(classes.accuracy([i.reference for i in items], labels(items, said)))


def quadratic_kappa(items: Items, said: Saids, *, grades: Sequence[str]) -> Column:
    """Agreement of grades."""
    truth, got = [i.reference for i in items], labels(items, said)
    return of_all(
        lambda k: classes.quadratic_kappa([truth[i] for i in k], [got[i] for i in k], grades), len(items)
    )


def auroc(items: Items, said: Saids, *, positive: str) -> Column:
    """Area under the ROC curve of `score`, or of `confidence` turned by the label that was said."""
    truth = [i.reference == positive for i in items]
    scores = [_score(s, label, positive) for s, label in zip(said, labels(items, said), strict=True)]
    return of_all(lambda k: classes.auroc([truth[i] for i in k], [scores[i] for i in k]), len(items))


def _score(said: Said, label: str | None, positive: str) -> float | None:
    if said.score is not None or said.confidence is None or label is None:
        return said.score
    return said.confidence if label == positive else 1 - said.confidence


def labels(items: Items, said: Saids) -> list[str | None]:
    """The label that each text names among the item's options (or is); None where it cannot be read."""
    found: list[str | None] = []
    for item, s in zip(items, said, strict=True):
        reading = vqa.read_answer(s.scored_text, item.options)
        same = reading.status == "answered" and vqa.plain(reading.answer) == vqa.plain(item.reference)
        found.append(item.reference if same else reading.answer if reading.status == "answered" else None)
    return found


def sure_and_right(items: Items, said: Saids) -> tuple[list[float | None], list[bool]]:
    """Confidence of each answer (None where there is none, or it is no answer), and whether it is right."""
    right = [r == 1 for r in vqa.vqa_strict(*_answers(items, said)).items]
    return [s.confidence if s.scored_text else None for s in said], right


def ece(items: Items, said: Saids) -> Column:
    """Calibration of the answers that came with a confidence."""
    return _calibration(items, said, calibration.expected_calibration_error)


def brier(items: Items, said: Saids) -> Column:
    """Brier score of the answers that came with a confidence."""
    return _calibration(items, said, calibration.brier)


def _calibration(items: Items, said: Saids, score: Callable[..., Any]) -> Column:
    sure, right = sure_and_right(items, said)

    def among(k: Sequence[int]) -> Any:
        known = [i for i in k if sure[i] is not None]
        return score([sure[i] for i in known], [right[i] for i in known])

    return of_all(among, len(items), higher_is_better=False)


def aurc(items: Items, said: Saids) -> Column:
    """Area under the risk-coverage curve: silence counts as wrong and least sure.

    ValueError where no answer came with a confidence: there is nothing to rank by.
    """
    sure, right = sure_and_right(items, said)
    if all(c is None for c in sure):
        raise ValueError("no answer came with a confidence")
    return of_all(
        lambda k: calibration.aurc([sure[i] for i in k], [right[i] for i in k]),
        len(items),
        higher_is_better=False,
    )


def coverage(items: Items, said: Saids) -> Column:
    """Share of questions that get an answer that can be read."""
    return of_items(calibration.coverage([1.0 if label else None for label in labels(items, said)]))


def declined(items: Items, said: Saids) -> Column:
    """Balanced over questions that the slide answers and those that it cannot: answered, or declined.

    Always to decline and always to answer earn one half each; what is neither (silence, an error) is wrong.
    """
    truth = ["declined" if i.reference == NOT_ASSESSABLE else "answered" for i in items]
    got = _attitudes(items, said)
    right = [float(t == g) for t, g in zip(truth, got, strict=True)]
    unread = sum(g == "unparsed" for g in got)
    return _balanced(truth, right, "pathagent answered or declined, balanced", unread)


def answered_as_fact(items: Items, said: Saids) -> Column:
    """Share of what no slide shows that is answered all the same."""
    got = _attitudes(items, said)
    asked = [float(i.reference == NOT_ASSESSABLE) for i in items]
    return Column(
        signature="pathagent unanswerable questions answered",
        top=[a * (g == "answered") for a, g in zip(asked, got, strict=True)],
        bottom=asked,
        higher_is_better=False,
    )


def _attitudes(items: Items, said: Saids) -> list[str]:
    found = []
    for item, s in zip(items, said, strict=True):
        if s.status == "failed":
            found.append("unparsed")
            continue
        reading = vqa.read_answer(NOT_ASSESSABLE if s.status == "abstained" else s.text, item.options)
        declines = reading.status == "abstained" or NOT_ASSESSABLE in reading.answer
        found.append("declined" if declines else reading.status)
    return found


METRICS: Final[dict[str, Made]] = {
    "fact_f1": fact_f1,
    "contradictions": partial(errors, kind="contradictions"),
    "critical_errors": partial(errors, kind="critical_errors"),
    "omissions": partial(errors, kind="omissions"),
    **{f"bleu_{n}": partial(ngram, name="bleu", part=n - 1) for n in (1, 2, 3, 4)},
    **{name: partial(ngram, name=name) for name in ("rouge_l", "cider", "meteor", "meteor_nltk")},
    "vqa_strict": strict,
    "vqa_compat": compat,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "quadratic_kappa": quadratic_kappa,
    "auroc": auroc,
    "ece": ece,
    "brier": brier,
    "aurc": aurc,
    "coverage": coverage,
    "declined": declined,
    "answered_as_fact": answered_as_fact,
    "dice": masks.dice,
    "iou": masks.iou,
    "look_mrr": looks.mrr,
    "look_recall": looks.recall,
    "background_looks": looks.background,
    "grounded_f1": looks.grounded_f1,
    "claims_shown": looks.claims_shown,
    "answer_changes": perturbed.answer_changes,
    "right_and_changes": perturbed.right_and_changes,
}
"""Name in a YAML → its column."""
