"""Many more ways to put a question than the phantoms' own: what a model that answers people learns from."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from random import Random
from typing import Any


@cache
def wording_table() -> dict[str, Any]:
    """The table of `wordings.yaml`, by language."""
    import yaml

    text = files("pathagent_finetune.corpus").joinpath("wordings.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def reworded(topic: str, phrase: str, language: str, rng: Random, *, attribute: bool) -> str:
    """A question on `topic`, which the phantoms call `phrase` in that language, in one of many wordings."""
    words = wording_table()[language]
    direct = words["direct"].get(topic, ())
    if direct and rng.random() < 0.25:
        text = str(rng.choice(direct))
    else:
        said = rng.choice([phrase, *words["names"].get(topic, ())])
        text = str(rng.choice(words["value" if attribute else "presence"])).format(item=said, attribute=said)
    if rng.random() < 0.25:
        start = text[:1] if text[1:2].isupper() or text[:2] == "I " else text[:1].lower()
        text = f"{rng.choice(words['before'])}{start}{text[1:]}"
    return text if rng.random() < 0.15 else _capital(text)


def _capital(text: str) -> str:
    """First letter in upper case, that after an opening mark too."""
    start = 1 if text[:1] in "¿¡" else 0
    return text[:start] + text[start : start + 1].upper() + text[start + 1 :]
