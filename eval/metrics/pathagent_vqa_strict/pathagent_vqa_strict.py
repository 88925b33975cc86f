"""Answers read strictly, without options: `evaluate.load("eval/metrics/pathagent_vqa_strict")`."""

from pathagent_eval import text_metric


class PathagentVqaStrict(text_metric.TextMetric):
    """Answers read strictly, without options."""

    score = "vqa_strict"
    citation_text = "PathAgent"
