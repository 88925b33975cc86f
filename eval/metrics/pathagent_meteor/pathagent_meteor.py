"""METEOR 1.5: `evaluate.load("eval/metrics/pathagent_meteor")`."""

from pathagent_eval import text_metric


class PathagentMeteor(text_metric.TextMetric):
    """METEOR 1.5."""

    score = "meteor"
    citation_text = "Denkowski and Lavie 2014; Chen et al. 2015 (COCO caption server)"
