"""Mean recall over classes: `evaluate.load("eval/metrics/pathagent_balanced_accuracy")`."""

from pathagent_eval import text_metric


class PathagentBalancedAccuracy(text_metric.TextMetric):
    """Mean recall over classes."""

    score = "balanced_accuracy"
    citation_text = "PathAgent"
