"""Sentences that list tissues, as `Elsewhere there is stroma and mucin.`: each item is a claim of its own."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from pathagent_tools.core.vocabulary import SLOTS

_ITEM: Final = "|".join(re.escape(t) for t in sorted(SLOTS["tissue"], key=len, reverse=True))
_LIST: Final = re.compile(rf"\b(?:{_ITEM})(?:(?:, | and |, and )(?:{_ITEM})\b)+", re.IGNORECASE)

_DENIED: Final = re.compile(r"\b(no|not|nor|neither|without|absent)\b", re.IGNORECASE)


def listed(text: str) -> tuple[str, ...]:
    """The tissues that a sentence lists as seen, each once and in order; empty where fewer than two."""
    found = None if _DENIED.search(text) else _LIST.search(text)
    items = named(found.group()) if found else ()
    return items if len(items) > 1 else ()


def named(text: str) -> tuple[str, ...]:
    """The tissues that a text names, each once and in order."""
    return tuple(dict.fromkeys(re.findall(rf"\b(?:{_ITEM})\b", text.casefold())))


def only(text: str, kept: Collection[str]) -> str:
    """The sentence with the items of its list that are `kept`, each said once; at least one must be."""
    items = [item for item in listed(text) if item in kept]
    said = items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
    return _LIST.sub(said, text, count=1)
