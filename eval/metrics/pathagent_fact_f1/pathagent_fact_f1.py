"""F1 of the facts of a report: `evaluate.load("eval/metrics/pathagent_fact_f1")`."""

from pathagent_eval import text_metric


class PathagentFactF1(text_metric.TextMetric):
    """F1 of the facts of a report."""

    score = "fact_f1"
    citation_text = "PathAgent"
