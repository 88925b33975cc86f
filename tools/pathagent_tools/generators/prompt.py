"""A prompt in words → slots of the closed vocabulary. Whatever is not understood is refused, not guessed.

The generator is conditioned on slots, not on a text tower's vectors: another edition of the encoder
changes nothing. What a prompt asks for is read by this table alone.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib.resources import files
from typing import Final

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen

_WORD: Final = re.compile(r"[\w&]+(?:-\w+)*")
LONGEST: Final = 400
"""Characters of a prompt."""


class PromptTable(Frozen):
    """Phrases and what each sets; words that say nothing."""

    version: int
    ignored: frozenset[str]
    phrases: dict[str, dict[str, str]]


@cache
def prompt_table() -> PromptTable:
    """The table that ships with the package (`words.yaml`)."""
    import yaml

    text = (files("pathagent_tools.generators") / "words.yaml").read_text(encoding="utf-8")
    return PromptTable.model_validate(yaml.safe_load(text))


def read_prompt(prompt: str) -> dict[str, str]:
    """Slots of a prompt: 'high-grade solid carcinoma, pale stain' → tissue, architecture, grade, stain.

    UserError for an empty prompt, for words outside the vocabulary (with the nearest known ones), and where
    two phrases contradict each other.
    """
    words = [w.lower() for w in _WORD.findall(prompt[:LONGEST])]
    if not words:
        raise UserError(
            "The prompt is empty: say what to draw, e.g. 'high-grade solid carcinoma, pale stain'."
        )
    table, said, unknown = prompt_table(), dict[str, str](), list[str]()
    i = 0
    while i < len(words):
        length = next(
            n
            for n in range(min(4, len(words) - i), -1, -1)
            if " ".join(words[i : i + n]) in table.phrases or n == 0
        )
        if length == 0:
            if words[i] not in table.ignored:
                unknown.append(words[i])
            i += 1
            continue
        for slot, value in table.phrases[" ".join(words[i : i + length])].items():
            if said.get(slot, value) != value and (slot, said[slot]) != ("tissue", "invasive tumour"):
                raise UserError(f"The prompt asks for {slot} {said[slot]!r} and {value!r}: keep one of them.")
            said[slot] = value
        i += length
    if unknown:
        raise UserError(f"{_unknown(unknown[0], table)}")
    if not said:
        raise UserError("The prompt names nothing that can be drawn, e.g. 'high-grade solid carcinoma'.")
    return said


def _unknown(word: str, table: PromptTable) -> str:
    known = sorted({w for phrase in table.phrases for w in phrase.split()})
    close = difflib.get_close_matches(word, known, n=2)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return (
        f"The generator does not know the word {word!r} and would ignore it.{hint} "
        "It knows tissue, growth pattern, nuclear grade, mitoses, necrosis, inflammation and stain."
    )
