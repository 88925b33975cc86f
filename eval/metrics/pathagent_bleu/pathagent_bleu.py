"""BLEU-1 to 4 (option n): `evaluate.load("eval/metrics/pathagent_bleu")`."""

from pathagent_eval import text_metric


class PathagentBleu(text_metric.TextMetric):
    """BLEU-1 to 4 (option n)."""

    score = "bleu"
    citation_text = "Papineni et al. 2002; Chen et al. 2015 (COCO caption server)"
