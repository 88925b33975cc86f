"""What the modules under `eval/metrics` share: an n-gram score as a Hugging Face `evaluate` metric.

Only those modules import this file: `evaluate` takes seconds to import.
"""

from __future__ import annotations

from typing import Any, ClassVar

import datasets
import evaluate

from pathagent_tools.core.scoring import ngrams


class TextMetric(evaluate.Metric):  # type: ignore[misc]
    """A score of `ngrams` by the name of its function, `score`."""

    score: ClassVar[str]
    citation_text: ClassVar[str] = "Chen et al. 2015 (COCO caption server)"

    def _info(self) -> Any:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=getattr(ngrams, self.score).__doc__,
            citation=self.citation_text,
            inputs_description=(
                "predictions and references: one report text each, in the same order. "
                'An empty prediction ("", not None) scores 0 and stays in the denominator.'
            ),
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], **options: Any) -> dict[str, Any]:
        score: ngrams.TextScore = getattr(ngrams, self.score)(predictions, references, **options)
        return {
            score.name: score.value,
            "items": list(score.items),
            "missing": score.missing,
            "signature": score.signature,
        }
