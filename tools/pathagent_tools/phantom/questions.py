"""Questions about a slide with their right answers, and twins in the same words that no H&E slide answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import numpy as np

from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.vocabulary import DIAGNOSES, NOT_ASSESSABLE
from pathagent_tools.phantom.truth import PhantomTruth

Kind = Literal["yesno", "choice", "count", "where", "grade", "not_assessable"]
LANGUAGES: Final = ("en", "de", "fr", "es", "it", "tr")
PLACES: Final = ("upper left", "upper right", "lower left", "lower right", "centre")
UNKNOWABLE_ITEMS: Final = ("ER", "PR", "HER2", "Ki-67", "p53", "MSI", "EGFR", "KRAS", "margins", "nodes")
UNKNOWABLE_ATTRIBUTES: Final = ("survival", "vital status", "TNM", "response")
_CARCINOMA: Final = "carcinoma"


class PhantomQuestion(Frozen):
    """One question. `answer` and `options` are the English canonical words whatever the language."""

    id: str
    topic: str
    text: str
    language: str
    kind: Kind
    options: tuple[str, ...] = ()
    answer: str
    wording_held_out: bool


@cache
def question_table() -> dict[str, Any]:
    """The wording table of `data/questions.yaml`."""
    import yaml

    text = files("pathagent_tools.phantom").joinpath("data/questions.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def questions(truth: PhantomTruth) -> list[PhantomQuestion]:
    """Every topic that is clear on this slide, once in English and once in another language.

    Topics whose answer a careful reader could dispute (a trace of fat, a lesion on the midline) are left
    out. Wordings are drawn from the slide's seed and the topic.
    """
    out = []
    for topic, kind, answer, options in _topics(truth):
        pattern = "value" if topic in question_table()["languages"]["en"]["attributes"] else "presence"
        draw = _draw(truth.seed, topic)
        other = LANGUAGES[1 + int(draw.integers(len(LANGUAGES) - 1))]
        for language in ("en", other):
            words = question_table()["languages"][language]
            index = int(draw.integers(len(words[pattern])))
            held_out = index >= len(words[pattern]) - question_table()["held_out"][language]
            out.append(
                PhantomQuestion(
                    id=f"{topic.replace(' ', '-')}-{language}-{index}",
                    topic=topic,
                    text=_fill(words, pattern, index, topic, options),
                    language=language,
                    kind=kind,
                    options=options,
                    answer=answer,
                    wording_held_out=held_out,
                )
            )
    return out


def _draw(seed: int, topic: str) -> np.random.Generator:
    digest = hashlib.sha256(topic.encode()).digest()[:4]
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def _fill(words: dict[str, Any], pattern: str, index: int, topic: str, options: tuple[str, ...]) -> str:
    table = words["attributes" if pattern == "value" else "items"]
    phrase = str(table[topic])
    capital = phrase[:1].upper() + phrase[1:]
    text = str(words[pattern][index]).format(item=phrase, Item=capital, attribute=phrase)
    shown = options if topic in ("diagnosis", "place") else ()
    return f"{text} ({'; '.join(shown)})" if shown else text


def _topics(truth: PhantomTruth) -> Iterator[tuple[str, Kind, str, tuple[str, ...]]]:
    """(topic, kind, answer, options) of everything worth asking about a slide."""
    yes_no = ("yes", "no")
    for topic, answer in _presence(truth):
        yield topic, "yesno", answer, yes_no
    draw = _draw(truth.seed, "options")
    wrong = [d for d in DIAGNOSES if d != truth.diagnosis]
    picked = [truth.diagnosis, *(wrong[int(i)] for i in draw.permutation(len(wrong))[:3])]
    yield "diagnosis", "choice", truth.diagnosis, tuple(picked[int(i)] for i in draw.permutation(4))
    yield "pieces", "count", str(truth.pieces), ()
    if truth.grade != "none":
        yield "grade", "grade", truth.grade, DIAGNOSES[truth.diagnosis]
    place = lesion_place(truth)
    if place is not None:
        yield "place", "where", place, PLACES
    for topic in UNKNOWABLE_ITEMS + UNKNOWABLE_ATTRIBUTES:
        yield topic, "not_assessable", NOT_ASSESSABLE, ()


def _presence(truth: PhantomTruth) -> Iterator[tuple[str, str]]:
    """(topic, yes or no), disputable ones left out."""
    family, facts, areas = truth.diagnosis, truth.facts, truth.class_mm2
    yield "invasive tumour", "yes" if family.endswith(_CARCINOMA) else "no"
    yield "dysplasia", "yes" if family == "adenoma" else "no"
    for topic, area, least in (
        ("necrosis", areas["necrosis"], 0.003),
        ("adipose", areas["adipose"], 0.02),
        ("mucin", areas["mucin"], 0.01),
    ):
        if area == 0 or area >= least:
            yield topic, "no" if area == 0 else "yes"
    if truth.mitoses == 0 or facts.mitoses == "many":
        yield "mitoses", "no" if truth.mitoses == 0 else "yes"
    if family == "chronic inflammation" or facts.inflammation == "none":
        yield "inflammation", "yes" if family == "chronic inflammation" else "no"


def lesion_place(truth: PhantomTruth) -> str | None:
    """Where a single lesion lies on the slide's square, None where a reader could dispute it."""
    if len(truth.lesion_polygons) != 1:
        return None
    points = np.array(truth.lesion_polygons[0])
    x, y = (points.min(0) + points.max(0)) / 2 / (truth.width, truth.height)
    if abs(x - 0.5) < 0.1 and abs(y - 0.5) < 0.1:
        return "centre"
    if abs(x - 0.5) < 0.13 or abs(y - 0.5) < 0.13:
        return None
    return f"{'upper' if y < 0.5 else 'lower'} {'left' if x < 0.5 else 'right'}"
