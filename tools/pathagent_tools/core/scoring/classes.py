"""Scores of class labels: accuracy, balanced accuracy, AUROC, quadratic kappa.

A missing or unparsed answer (None) is wrong, whatever the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from pathagent_tools.core.scoring.score import Score
from pathagent_tools.core.scoring.texts import missing_extra

Said = Sequence[str | None]


def accuracy(truth: Sequence[str], said: Said) -> Score:
    """Share of items named rightly. ValueError on empty input."""
    right = _right(truth, said)
    return _score("accuracy", float(np.mean(right)), right, "share of exact labels", said)


def balanced_accuracy(truth: Sequence[str], said: Said) -> Score:
    """Mean over the classes present in `truth` of the share of their items named rightly.

    ValueError on empty input.
    """
    right, labels = np.asarray(_right(truth, said)), np.asarray(truth)
    value = float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))
    return _score("balanced_accuracy", value, right.tolist(), "mean recall over classes", said)


def quadratic_kappa(truth: Sequence[str], said: Said, grades: Sequence[str]) -> Score:
    """Cohen's kappa with quadratic weights over ordered grades (Cohen 1968), computed by scikit-learn.

    grades: from lowest to highest. An answer that is none of them counts as the grade furthest from the
    truth. ValueError where a truth is no grade, or where the truth has one grade only and kappa is undefined.
    """
    _right(truth, said)
    place = {grade: i for i, grade in enumerate(grades)}
    wanted = [place[t] for t in truth if t in place]
    if len(wanted) < len(truth) or len(set(wanted)) < 2:
        raise ValueError(f"kappa needs truths of at least two of the grades {', '.join(grades)}")
    last = len(grades) - 1
    worst = [0 if w > last - w else last for w in wanted]
    got = [place.get(s, worst[i]) if s is not None else worst[i] for i, s in enumerate(said)]
    try:
        from sklearn.metrics import cohen_kappa_score
    except ImportError:
        raise missing_extra("AUROC and kappa") from None
    value = cohen_kappa_score(wanted, got, weights="quadratic", labels=list(range(len(grades))))
    signature = (
        f"scikit-learn {version('scikit-learn')} cohen_kappa_score, quadratic; unread = furthest grade"
    )
    unread = sum(s not in place for s in said)
    return Score(name="quadratic_kappa", value=float(value), signature=signature, missing=unread)


def auroc(truth: Sequence[bool], score: Sequence[float | None]) -> Score:
    """Area under the ROC curve, computed by scikit-learn.

    A missing score ranks on the wrong side of all others. ValueError where only one class is there.
    """
    if len(truth) != len(score) or len(set(truth)) < 2:
        raise ValueError(f"AUROC needs scores of both classes (got {len(truth)} truths, {len(score)} scores)")
    known = [s for s in score if s is not None] or [0.0]
    low, high = min(known) - 1, max(known) + 1
    ranked = [(low if t else high) if s is None else s for t, s in zip(truth, score, strict=True)]
    try:
        from sklearn.metrics import roc_auc_score
    except ImportError:
        raise missing_extra("AUROC and kappa") from None
    signature = f"scikit-learn {version('scikit-learn')} roc_auc_score; missing = ranked wrong"
    return Score(
        name="auroc",
        value=float(roc_auc_score(list(truth), ranked)),
        signature=signature,
        missing=sum(s is None for s in score),
    )


def _right(truth: Sequence[str], said: Said) -> list[float]:
    if not truth or len(truth) != len(said):
        raise ValueError(f"needs as many answers as truths, at least one (got {len(truth)}, {len(said)})")
    return [float(a == b) for a, b in zip(truth, said, strict=True)]


def _score(name: str, value: float, items: Sequence[float], signature: str, said: Said) -> Score:
    missing = sum(s is None for s in said)
    return Score(
        name=name, value=value, items=tuple(items), signature=f"pathagent {signature}", missing=missing
    )
