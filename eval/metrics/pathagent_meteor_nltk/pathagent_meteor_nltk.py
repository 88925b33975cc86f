"""NLTK's METEOR without WordNet, not METEOR 1.5: `evaluate.load("eval/metrics/pathagent_meteor_nltk")`."""

from pathagent_eval import text_metric


class PathagentMeteorNltk(text_metric.TextMetric):
    """NLTK's METEOR without WordNet, not METEOR 1.5."""

    score = "meteor_nltk"
    citation_text = "Lavie and Agarwal 2007"
