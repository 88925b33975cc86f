"""What the modules under `eval/metrics` share: an n-gram score as a Hugging Face `evaluate` metric.

Only those modules import this file: `evaluate` takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import datasets
import evaluate

from pathagent_tools.core.scoring import ngrams
from pathagent_tools.core.scoring.report.score import fact_f1


def _function(name: str) -> Callable[..., ngrams.TextScore]:
    function: Callable[..., ngrams.TextScore] = fact_f1 if name == "fact_f1" else getattr(ngrams, name)
    return function


class TextMetric(evaluate.Metric):  # type: ignore[misc]
    """A score by the name of its function: `fact_f1`, or one of `ngrams`."""

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
        score: ngrams.TextScore = _function(self.score)(predictions, references, **options)
        return {
            score.name: score.value,
            "items": list(score.items),
            "missing": score.missing,
            "signature": score.signature,
        }
