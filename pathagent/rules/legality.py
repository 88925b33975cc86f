"""What H&E cannot show: a rule that holds whoever asks, in whatever words, and whatever a model says.

Immunohistochemistry, molecular status, survival, treatment, margins, nodes, stage and the patient are
"not assessable from this material". The vocabulary is data: `topics/*.yaml`, with examples that tests run.
Notes and questions are text to be judged here, never a reason to make an exception.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from pydantic import Field

from pathagent.rules.phrases import corrected, pattern, plain, visible
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.records import Claim, SlideRecord

TOPICS: Final = (
    "immunohistochemistry",
    "molecular",
    "outcome",
    "treatment",
    "margins",
    "nodes",
    "stage",
    "patient",
)
LANGUAGES: Final = ("en", "de", "fr", "es", "it", "pt", "nl", "tr")
QUOTE_LENGTH: Final = 4000
_NO_MORPHOLOGY: Final = {"not H&E", "wrong colours", "no tissue"}
_MASK: Final = ". "


class NotAssessable(Frozen):
    """Why H&E cannot answer a text: `f"{topic}: {why}"` reads as a sentence."""

    topic: str
    why: str
    matched: tuple[str, ...] = Field(description="the words that say so, as normalised")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: its masks, patterns by language, and the examples that must and must not be caught."""

    key: str
    topic: str
    why: str
    spelling: tuple[str, ...]
    unless: tuple[str, ...]
    cased: tuple[str, ...]
    patterns: Mapping[str, tuple[str, ...]]
    refuse: tuple[str, ...]
    answer: tuple[str, ...]

    def matches(self, text: str, cased: str, languages: Collection[str]) -> tuple[str, ...]:
        """The phrases of `text` (lower case) and `cased` (own case) that touch this topic."""
        for mask in self.unless:
            text = pattern(mask).sub(_MASK, text)
            cased = pattern(mask).sub(_MASK, cased)
        found = [m[0] for p in self.cased for m in pattern(p, cased=True).finditer(cased)]
        wanted = [p for name, listed in self.patterns.items() if name in languages for p in listed]
        found += [m[0] for p in wanted for m in pattern(p).finditer(text)]
        return tuple(dict.fromkeys(words for phrase in found if (words := " ".join(phrase.split()))))


def assess(text: str, *, language: str | None = None) -> NotAssessable | None:
    """The first topic that `text` touches and H&E cannot show, or None where H&E may answer.

    text: a question, a claim, a note. language: one of `LANGUAGES` to read it in that language (and in
    English) only; None reads it in all of them.
    """
    languages = {"any", *(LANGUAGES if language is None else ("en", language))}
    cased = _without_shouting(plain(text))
    typed = plain(text).casefold()
    readings = dict.fromkeys((typed, corrected(typed, _spelling())))
    for topic in topics():
        found = (words for reading in readings for words in topic.matches(reading, cased, languages))
        if matched := tuple(dict.fromkeys(found)):
            return NotAssessable(topic=topic.topic, why=topic.why, matched=matched)
    return None


def apply(
    claims: Sequence[Claim],
    *,
    evidence: Collection[str] | None = None,
    slides: Sequence[SlideRecord] = (),
) -> list[Claim]:
    """The claims with the verdicts that no model may give itself; code's own claims pass.

    A claim whose evidence ids are not all in `evidence` (where given) is unsupported; a morphology claim
    of a slide that is not H&E, or has wrong colours, and any claim on a topic that H&E cannot show, is not
    assessable.
    """
    unread = {s.id: s.outcome for s in slides if s.outcome in _NO_MORPHOLOGY}
    return [c if c.written_by == "rule" else _ruled(c, evidence, unread) for c in claims]


def _ruled(claim: Claim, evidence: Collection[str] | None, unread: Mapping[str, str]) -> Claim:
    if found := assess(claim.text):
        return _verdict(claim, "not assessable", f"{found.topic}: {found.why}")
    if outcome := unread.get(claim.slide or ""):
        return _verdict(claim, "not assessable", f"no morphology is read on {claim.slide}: {outcome}")
    lost = [i for i in claim.evidence if evidence is not None and i not in evidence]
    if lost:
        return _verdict(claim, "unsupported", f"no such evidence: {', '.join(lost)}")
    if not claim.evidence and claim.verdict == "supported":
        return _verdict(claim, "unsupported", "cites no evidence")
    return claim


def _verdict(claim: Claim, verdict: str, reason: str) -> Claim:
    return claim.model_copy(update={"verdict": verdict, "reason": reason})


def quote(text: str, *, limit: int = QUOTE_LENGTH) -> str:
    """Somebody else's text as one bounded line: no control, zero-width or direction characters.

    It is still text: whoever renders it escapes it.
    """
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 2].rstrip()} …"


@cache
def topics() -> tuple[Topic, ...]:
    """All topics in the order in which they are tried."""
    import yaml

    folder = files("pathagent.rules") / "topics"
    return tuple(_topic(key, yaml.safe_load((folder / f"{key}.yaml").read_text("utf-8"))) for key in TOPICS)


def _topic(key: str, data: Mapping[str, Any]) -> Topic:
    return Topic(
        key=key,
        topic=data["topic"],
        why=data["why"],
        spelling=tuple(data.get("spelling", ())),
        unless=tuple(data.get("unless", ())),
        cased=tuple(data.get("cased", ())),
        patterns={name: tuple(listed) for name, listed in data["patterns"].items()},
        refuse=tuple(data["examples"]["refuse"]),
        answer=tuple(data["examples"]["answer"]),
    )


@cache
def _spelling() -> frozenset[str]:
    return frozenset(word for topic in topics() for word in topic.spelling)


def _without_shouting(text: str) -> str:
    """Cased abbreviations mean nothing in text that is all capitals: `IST ER POSITIV`."""
    words = re.findall(r"[^\W\d_]+", text)
    shouted = len(words) > 3 and all(w.isupper() for w in words)
    return "" if shouted else text
