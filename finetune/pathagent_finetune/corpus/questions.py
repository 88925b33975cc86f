"""Questions to learn from: the phantom's wordings, less those that are held out for measuring."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from pathagent_finetune.corpus.simulate import PLACES
from pathagent_finetune.corpus.wordings import reworded
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.phantom.questions import (
    LANGUAGES,
    UNKNOWABLE_ATTRIBUTES,
    UNKNOWABLE_ITEMS,
    question_table,
)

_KINDS = {"diagnosis": "choice", "grade": "grade", "pieces": "count", "place": "where"}


UNKNOWABLE = (*UNKNOWABLE_ITEMS, *UNKNOWABLE_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Question:
    """One question in one wording; `kind` and `topic` say how its answer follows from the ledger."""

    kind: str
    topic: str
    text: str
    options: tuple[str, ...]


def draw_question(rng: Random, *, diagnosis: str, reword: float = 0.0, held_out: bool = False) -> Question:
    """A question in a training wording. Of the options of a choice one is `diagnosis`.

    reword: share of questions in the wordings of `wordings` instead of the phantoms'. held_out: in a
    phantom wording that no training uses, for measuring.
    """
    language = rng.choice((*LANGUAGES, "en", "en", "en"))
    words = question_table()["languages"][language]
    attribute = rng.random() < 0.42
    table: dict[str, Any] = words["attributes" if attribute else "items"]
    patterns = words["value" if attribute else "presence"]
    known = len(patterns) - question_table()["held_out"][language]
    patterns = patterns[known:] if held_out else patterns[:known]
    hidden = rng.random() < 0.3
    topic = rng.choice([t for t in table if (t in UNKNOWABLE) == hidden])
    phrase = str(table[topic])
    text = str(rng.choice(patterns)).format(
        item=phrase, Item=phrase[:1].upper() + phrase[1:], attribute=phrase
    )
    if reword and rng.random() < reword:
        text = reworded(topic, phrase, language, rng, attribute=attribute)
    kind = _KINDS.get(topic, "yesno")
    if topic in UNKNOWABLE:
        kind = "not_assessable"
    options = _options(kind, diagnosis, rng)
    if kind in ("choice", "where"):
        text += f" ({'; '.join(options)})"
    if rng.random() < 0.25:
        options = ()
    return Question(kind, topic, text, options)


def _options(kind: str, diagnosis: str, rng: Random) -> tuple[str, ...]:
    if kind == "yesno":
        return ("yes", "no")
    if kind == "where":
        return PLACES
    if kind == "grade":
        return DIAGNOSES[diagnosis] if DIAGNOSES[diagnosis] != ("none",) else ()
    if kind == "choice":
        wrong = rng.sample([d for d in DIAGNOSES if d != diagnosis], 3)
        options = [diagnosis, *wrong]
        rng.shuffle(options)
        return tuple(options)
    return ()
