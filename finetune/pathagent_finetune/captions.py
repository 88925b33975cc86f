"""What a tile can truthfully be called: captions in many wordings, and which tiles each one fits.

A caption mentions some facts of a tile (its look, a grade, an artifact, what lies beside it) and leaves
out others, so one caption may be true of many tiles. `fits` gives the exact truth of every tile-caption
pair; contrastive training uses it as its target. The wordings stand in `captions.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.records import Findings
from pathagent_tools.core.vocabulary import SLOTS

BESIDE_TRUE, BESIDE_FALSE = 0.12, 0.03
"""A tissue lies beside when it covers at least the first share of a tile, does not below the second."""

MIXED: Final = tuple(t for t in SLOTS["tissue"])
NEGATING: Final = frozenset({
    "no", "not", "without", "none", "nothing", "absent", "lacking", "free", "negative", "hardly", "few",
    "only", "alone", "almost",
})  # fmt: skip
"""Where one of these stands, every word carries the meaning."""

FILLERS: Final = (
    "noted", "centrally", "largely", "mainly", "prominent", "extensive", "typical", "appears", "overall",
    "partly", "some", "such", "along", "again", "mostly", "evident", "characteristic", "at low power",
    "of interest", "in places", "findings", "material", "focus on", "made of", "composed of",
)  # fmt: skip
"""Words that say nothing of what a tile shows."""

_ALTERNATIVE = re.compile(r"\(([^()]*\|[^()]*)\)")
_JOINTS: Final = ("{}, {}", "{}, {}", "{} with {}", "{} and {}", "{}; {}", "{}. {}")


@dataclass(frozen=True, slots=True)
class Caption:
    """A text and the facts that it states.

    `slots` [8] uint16: allowed values of each slot as a bit mask (all bits where nothing is said).
    `beside` [10] int8: 1 where the text says that this tissue lies in the field, 0 where it does not say.
    """

    text: str
    slots: NDArray[np.uint16]
    beside: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class TileFacts:
    """Facts of N tiles: `slots` [N, 8] uint16 with one bit set each, `shares` [N, 10] area fractions."""

    slots: NDArray[np.uint16]
    shares: NDArray[np.float32]


@cache
def wordings() -> dict[str, Any]:
    """The wordings file."""
    import yaml

    text = (files("pathagent_finetune") / "captions.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def expand(pattern: str, rng: Random) -> str:
    """One text of a pattern: `(a|b|)` chooses; doubled spaces collapse."""
    while match := _ALTERNATIVE.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(match[1].split("|")) + pattern[match.end() :]
    return " ".join(pattern.split()).replace(" ,", ",").strip()


def mask_of(where: dict[str, Sequence[str]]) -> NDArray[np.uint16]:
    """[8] bit masks of the allowed values; slots that are not named allow everything."""
    masks = np.full(len(SLOTS), 0xFFFF, np.uint16)
    for slot, values in where.items():
        position = list(SLOTS).index(slot)
        masks[position] = sum(1 << SLOTS[slot].index(v) for v in values)
    return masks


def facts_of(findings: Sequence[Findings], fractions: Sequence[dict[str, float]]) -> TileFacts:
    """Facts of tiles as arrays."""
    slots = np.array(
        [[1 << SLOTS[s].index(getattr(f, s)) for s in SLOTS] for f in findings], np.uint16
    ).reshape(len(findings), len(SLOTS))
    shares = np.array([[f.get(t, 0.0) for t in MIXED] for f in fractions], np.float32)
    return TileFacts(slots, shares.reshape(len(findings), len(MIXED)))


def look_of(findings: Findings) -> str:
    """The tile class: the most specific look that is true of it, e.g. `solid tumour nests`."""
    slots = facts_of([findings], [{}]).slots[0]
    for name, look in wordings()["looks"].items():
        if bool(np.all(slots & mask_of(look["where"]))):
            return str(name)
    raise ValueError(f"no look fits {findings.line()}")


def caption(
    findings: Findings, fractions: dict[str, float], rng: Random, *, held_out: bool = False
) -> Caption:
    """A true caption of a tile: mostly its look with up to three further facts, sometimes a detail alone."""
    words, kind = wordings(), "held_out" if held_out else "train"
    facts = facts_of([findings], [fractions])
    slots, beside = np.full(len(SLOTS), 0xFFFF, np.uint16), np.zeros(len(MIXED), np.int8)
    parts: list[str] = []
    details = _details(findings, rng)
    if rng.random() < 0.88 or not details:
        looks = [n for n, v in words["looks"].items() if np.all(facts.slots[0] & mask_of(v["where"]))]
        name = looks[0] if rng.random() < 0.75 else rng.choice(looks)
        slots &= mask_of(words["looks"][name]["where"])
        parts.append(expand(rng.choice(words["looks"][name][kind]), rng))
    further = 0 if parts and rng.random() < 0.4 else rng.randint(1, 3)
    for slot, value in details[:further]:
        slots &= mask_of({slot: [value]})
        parts.append(expand(rng.choice(words["details"][slot][value][kind]), rng))
    if rng.random() < 0.2 and (near := _beside(findings, fractions)) and parts and not held_out:
        tissue = rng.choice(near)
        beside[MIXED.index(tissue)] = 1
        parts.insert(1, expand(rng.choice(words["beside"][tissue]), rng))
    return Caption(_sentence(parts, rng, words["frames"][kind]), slots, beside)


def disturbed(text: str, rng: Random) -> str:
    """A caption with words left out and idle words put in, so that no single word and no order decides.

    Half of the captions stay as they are, and so does every one that denies something.
    """
    said = text.split()
    if rng.random() < 0.5 or any(w.strip(".,;:?").lower() in NEGATING or "-free" in w for w in said):
        return text
    kept = [w for w in said if rng.random() > 0.12]
    if len(kept) < 2:
        return text
    for _ in range(rng.randint(0, 2)):
        kept.insert(rng.randint(0, len(kept)), rng.choice(FILLERS))
    return " ".join(kept)


def fits(tiles: TileFacts, captions: Sequence[Caption]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """([N, M] caption is true of tile, [N, M] pair cannot be judged: a share between the limits)."""
    wanted = np.stack([c.slots for c in captions])
    true = np.all((tiles.slots[:, None, :] & wanted[None]) != 0, axis=-1)
    said = np.stack([c.beside for c in captions]).astype(bool)
    absent = tiles.shares < BESIDE_FALSE
    unsure = (tiles.shares >= BESIDE_FALSE) & (tiles.shares < BESIDE_TRUE)
    false_beside = (absent[:, None, :] & said[None]).any(-1)
    unknown = true & ~false_beside & (unsure[:, None, :] & said[None]).any(-1)
    return true & ~false_beside & ~unknown, unknown


def all_texts(n: int, seed: int = 0) -> list[str]:
    """`n` training texts drawn over every pattern: what the tokenizer learns from."""
    rng, words = Random(seed), wordings()
    pools = [v["train"] for v in words["looks"].values()]
    pools += [v["train"] for slot in words["details"].values() for v in slot.values()]
    pools += list(words["beside"].values())
    frames = words["frames"]["train"]
    texts = []
    for _ in range(n):
        parts = [expand(rng.choice(rng.choice(pools)), rng) for _ in range(rng.randint(1, 3))]
        texts.append(_sentence(parts, rng, frames))
    return texts


def _details(findings: Findings, rng: Random) -> list[tuple[str, str]]:
    """Facts that may be mentioned, unusual ones first more often than not."""
    usual = {"nuclear_grade": "none", "mitoses": "none", "necrosis": "absent", "inflammation": "none"}
    usual |= {"artifact": "none"}
    found: list[tuple[float, str, str]] = []
    for slot in wordings()["details"]:
        value = getattr(findings, slot)
        if value not in wordings()["details"][slot]:
            continue
        weight = rng.random() + (0.0 if usual.get(slot) == value or slot == "stain" else 0.6)
        found.append((weight, slot, value))
    return [(slot, value) for _, slot, value in sorted(found, reverse=True)]


def _beside(findings: Findings, fractions: dict[str, float]) -> list[str]:
    return [t for t in MIXED if fractions.get(t, 0.0) >= BESIDE_TRUE and t != findings.tissue]


def _sentence(parts: Sequence[str], rng: Random, frames: Sequence[str]) -> str:
    text = parts[0]
    for part in parts[1:]:
        text = rng.choice(_JOINTS).format(text, part)
    return expand(rng.choice(frames), rng).replace("{}", text)
