"""CIDEr-D: `evaluate.load("eval/metrics/pathagent_cider")`."""

from pathagent_eval import text_metric


class PathagentCider(text_metric.TextMetric):
    """CIDEr-D."""

    score = "cider"
    citation_text = "Vedantam et al. 2015; Chen et al. 2015 (COCO caption server)"
