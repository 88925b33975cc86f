"""ROUGE-L with beta 1.2: `evaluate.load("eval/metrics/pathagent_rouge_l")`."""

from pathagent_eval import text_metric


class PathagentRougeL(text_metric.TextMetric):
    """ROUGE-L with beta 1.2."""

    score = "rouge_l"
    citation_text = "Lin 2004; Chen et al. 2015 (COCO caption server)"
