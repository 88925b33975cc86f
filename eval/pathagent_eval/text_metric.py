"""What the modules under `eval/metrics` share: an n-gram score as a Hugging Face `evaluate` metric.

Only those modules import this file: `evaluate` takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import datasets
import evaluate

from pathagent_tools.core.scoring import classes, ngrams, vqa
from pathagent_tools.core.scoring.report.score import fact_f1
from pathagent_tools.core.scoring.score import Score


def balanced_accuracy(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Mean over the classes of the references of the share of their items named rightly."""
    return classes.balanced_accuracy(references, [said or None for said in predictions])


def vqa_strict(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Share of open answers that are the right text; digits and signs count."""
    return vqa.vqa_strict(predictions, references, [()] * len(references))


_OTHERS: Final[dict[str, Callable[..., Score]]] = {
    "fact_f1": fact_f1,
    "balanced_accuracy": balanced_accuracy,
    "vqa_strict": vqa_strict,
}


def _function(name: str) -> Callable[..., Score]:
    function: Callable[..., Score] = _OTHERS.get(name) or getattr(ngrams, name)
    return function


class TextMetric(evaluate.Metric):  # type: ignore[misc]
    """A score by the name of its function: one of this file, or of `ngrams`."""

    score: ClassVar[str]
    citation_text: ClassVar[str] = "Chen et al. 2015 (COCO caption server)"

    def _info(self) -> Any:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_function(self.score).__doc__,
            citation=self.citation_text,
            inputs_description=(
                "predictions and references: one report text each, in the same order. "
                'An empty prediction ("", not None) scores 0 and stays in the denominator.'
            ),
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], **options: Any) -> dict[str, Any]:
        score: Score = _function(self.score)(predictions, references, **options)
        return {
            score.name: score.value,
            "items": list(score.items),
            "missing": score.missing,
            "signature": score.signature,
        }
