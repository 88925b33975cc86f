"""Answers to questions: read strictly, or by a benchmark's own rule.

`strict` reads an answer as a careful reader would: JSON, then an explicit letter or number of an option, then
the one option whose words stand in the text and are not denied there; digits and signs count. What cannot be
read is wrong. An abstention is wrong too and is counted by itself. `compat` repeats a benchmark's rule for
comparison with its published numbers, faults included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, Literal, NamedTuple

from pathagent_tools.core.scoring.report.clauses import Clauses
from pathagent_tools.core.scoring.score import Score
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE

Said = Sequence[str | None]
Options = Sequence[Sequence[str]]
"""The options of each question, in the order in which they were shown; empty where it is open."""

_ABSTAINED: Final = re.compile(
    rf"{re.escape(NOT_ASSESSABLE)}( \(.*\))?|insufficient evidence"
    r"|(it )?can ?not be (told|determined|assessed|answered)"
    r"( from (this|the) (slide|image|material))?|i (do not|don't|cannot|can't) (know|tell|answer)|unknown"
    r"|not answered.*",
    re.IGNORECASE,
)
_LETTER: Final = re.compile(
    r"\W*(?i:(?:the )?(?:correct |final |best )?(?:answer|option|choice)?(?: is)?)\W*"
    r"(?<!\w)(?P<letter>[A-Z])(?:[).:\]]+\s*(?P<rest>.*)|\W*)",
    re.DOTALL,
)
_ORDINAL: Final = re.compile(r"\W*(?:the )?(?:answer|option|choice)(?: is)?\W*(?P<number>\d{1,2})\W*", re.I)

_YES_NO: Final = re.compile(
    r"(?:(?:the |final )*(?:answer|conclusion)\W*(?:is\W*)?)?(?:yes|no)\b(?=\s*(?:[^\w\s]|$))", re.IGNORECASE
)
"""`yes` and `no` count where they begin an answer and are set off: "no answer from the server" is no `no`."""


class Reading(NamedTuple):
    """What an answer was read as. `answer` is an option's own text, or the free text; else empty."""

    status: Literal["answered", "abstained", "unparsed"]
    answer: str = ""


_UNPARSED: Final = Reading("unparsed")


def read_answer(said: str | None, options: Sequence[str] = ()) -> Reading:
    """Read one answer; `options` are the texts to choose from, none where the question is open."""
    text = plain(said or "")
    if not text:
        return _UNPARSED
    given = _json_answer(said or "")
    if given is not None:
        return _of_json(given, options)
    if not any(plain(option) == text for option in options) and _ABSTAINED.fullmatch(text.rstrip(". ")):
        return Reading("abstained")
    if not options:
        return Reading("answered", text)
    return _named(said or "", options) or _lettered(said or "", options) or _mentioned(said or "", options)


def vqa_strict(said: Said, truth: Sequence[str], options: Options) -> Score:
    """Share of answers that are read as the right one; unread and abstaining answers are wrong."""
    readings = [read_answer(s, o) for s, o in zip(*_checked(said, truth, options), strict=True)]
    pairs = zip(readings, truth, strict=True)
    items = [float(r.status == "answered" and plain(r.answer) == plain(t)) for r, t in pairs]
    return Score(
        name="vqa_strict",
        value=sum(items) / len(items),
        items=tuple(items),
        signature="pathagent strict 1: JSON, letter, the one option named; unread and abstained = wrong",
        missing=sum(r.status == "unparsed" for r in readings),
        abstained=sum(r.status == "abstained" for r in readings),
    )


def closer_than_choices(said: str, truth: str, options: Sequence[str]) -> bool:
    """WSI-VQA's rule: right unless an option is more like the answer than the truth is (difflib).

    So an empty answer, and one that is equally unlike all, counts as right.
    """

    def likeness(to: str) -> float:
        return SequenceMatcher(None, said, to).quick_ratio()

    return all(likeness(option) <= likeness(truth) for option in options)


def same_text(said: str, truth: str, options: Sequence[str]) -> bool:
    """Exact match of lower-case texts, as PathVQA's yes/no accuracy is usually computed."""
    return said.strip().lower() == truth.strip().lower()


def option_number(said: str, truth: str, options: Sequence[str]) -> bool:
    """MultiPathQA's form: `{"answer": N}`, N the number of the option from 1; its text is taken too."""
    given = _json_answer(said)
    if isinstance(given, str) and given.strip().isdigit():
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= len(options):
        return options[given - 1] == truth
    return bool(given == truth)


COMPAT: Final[dict[str, Callable[[str, str, Sequence[str]], bool]]] = {
    "wsi-vqa": closer_than_choices,
    "exact": same_text,
    "multipathqa": option_number,
}
"""Rule of a benchmark → whether an answer is right."""


def vqa_compat(said: Said, truth: Sequence[str], options: Options, *, rule: str) -> Score:
    """Share of answers that a benchmark's own rule counts as right."""
    _checked(said, truth, options)
    judge = COMPAT[rule]
    items = [float(judge(s or "", t, o)) for s, t, o in zip(said, truth, options, strict=True)]
    return Score(
        name=f"vqa_compat_{rule}",
        value=sum(items) / len(items),
        items=tuple(items),
        signature=f"rule of {rule}, faults included",
        missing=sum(not (s or "").strip() for s in said),
    )


def plain(text: str) -> str:
    """Lower case, one blank between words, no full stop at the end; digits and signs stay."""
    return " ".join(text.lower().split()).rstrip(".").strip()


def _checked(said: Said, truth: Sequence[str], options: Options) -> tuple[Said, Options]:
    if not truth or not len(said) == len(truth) == len(options):
        raise ValueError(
            f"needs an answer and a list of options a question, at least one ({len(said)}, {len(truth)})"
        )
    return said, options


def _json_answer(said: str) -> Any:
    """The value of `answer` in the last JSON object of a text; None where there is none."""
    for found in reversed(re.findall(r"\{[^{}]*\}", said)):
        try:
            data = json.loads(found)
        except json.JSONDecodeError:
            continue
        if isinstance(data, dict) and "answer" in data:
            return data["answer"]
    return None


def _of_json(given: Any, options: Sequence[str]) -> Reading:
    if isinstance(given, int | float) and not isinstance(given, bool):
        number = given
        if options and not any(plain(o) == plain(str(number)) for o in options):
            return _place(int(number), options) if number == int(number) else _UNPARSED
    return read_answer(str(given), options) if isinstance(given, str | int | float) else _UNPARSED


def _place(number: int, options: Sequence[str]) -> Reading:
    """The option with a number, counted from 1."""
    return Reading("answered", options[number - 1]) if 1 <= number <= len(options) else _UNPARSED


def _named(said: str, options: Sequence[str]) -> Reading | None:
    """The option that the whole answer is."""
    same = [option for option in options if plain(option) == plain(said)]
    return Reading("answered", same[0]) if len(same) == 1 else None


def _lettered(said: str, options: Sequence[str]) -> Reading | None:
    """The option whose letter or number is the answer; none where the words behind it name another."""
    if ordinal := _ORDINAL.fullmatch(said):
        return _place(int(ordinal["number"]), options)
    match = _LETTER.fullmatch(said.strip())
    if match is None:
        return None
    reading = _place(ord(match["letter"]) - ord("A") + 1, options)
    other = _mentioned(match["rest"] or "", options)
    return reading if other in (_UNPARSED, reading) else _UNPARSED


def _mentioned(said: str, options: Sequence[str]) -> Reading:
    """The one option whose words stand in the text and are not denied there."""
    text = " ".join(said.split())
    clauses = Clauses(text)
    spans: list[tuple[int, int, str]] = []
    for option in options:
        words = re.escape(" ".join(option.split()).rstrip("."))
        for m in re.finditer(rf"(?<![\w.+-])(?:{words})(?![\w+-]|\.\d)", text, re.IGNORECASE):
            spans.append((m.start(), m.end(), option))
    whole = [s for s in spans if not any(o[0] <= s[0] and s[1] <= o[1] and o[:2] != s[:2] for o in spans)]
    named = {
        o
        for a, b, o in whole
        if (_YES_NO.match(text) if plain(o) in ("yes", "no") else clauses.polarity(a, b) == "present")
    }
    return Reading("answered", named.pop()) if len(named) == 1 else _UNPARSED
