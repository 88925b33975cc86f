"""Blinded sheets for expert readers: two systems' texts of each case in random order, the key apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from pathagent_eval.bench.item import Item, Said
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic

QUESTIONS = (
    "better (A, B, same)",
    "errors in A",
    "errors in B",
    "critical error (none, A, B, both)",
    "remarks",
)
_HOW = (
    "Blinded reading. Each row shows two texts of one case, A and B; which system wrote which changes from "
    "row to row, and the key is kept apart. Judge each pair by the reference and, where you have it, the "
    "slide. Research use only.\n"
)


class Pair(NamedTuple):
    """One row: a number, the reference, both texts, and whether A is the first system."""

    number: int
    item: Item
    a: str
    b: str
    a_is_first: bool


def pairs(items: Sequence[Item], first: Sequence[Said], second: Sequence[Said], *, seed: int) -> list[Pair]:
    """Cases in random order, the sides of each drawn. Only cases of which both systems wrote a text.

    UserError where there is none.
    """
    rng = Random(f"sheets-{seed}")
    both = [
        (item, _flat(a.scored_text), _flat(b.scored_text))
        for item, a, b in zip(items, first, second, strict=True)
        if a.scored_text and b.scored_text
    ]
    if not both:
        raise UserError("No case has a text of both systems. Compare the ids of the two prediction files.")
    rng.shuffle(both)
    found = []
    for number, (item, a, b) in enumerate(both, 1):
        a_is_first = rng.random() < 0.5
        found.append(Pair(number, item, *((a, b) if a_is_first else (b, a)), a_is_first))
    return found


def write(out: Path, rows: Sequence[Pair], names: tuple[str, str]) -> None:
    """`sheet.csv` and `read_me.txt` for the reader; `key.csv`, which stays with you, in another folder."""
    head = ["number", "question", "reference", "text A", "text B", *QUESTIONS]
    sheet = [
        [p.number, p.item.question, _flat(p.item.reference), p.a, p.b, *[""] * len(QUESTIONS)] for p in rows
    ]
    key = [[p.number, p.item.id, *(names if p.a_is_first else names[::-1])] for p in rows]
    write_text_atomic(out / "for_readers" / "sheet.csv", _csv([head, *sheet]))
    write_text_atomic(out / "for_readers" / "read_me.txt", _HOW)
    write_text_atomic(out / "key" / "key.csv", _csv([["number", "id", "A", "B"], *key]))


def _flat(text: str | None) -> str:
    """One line, so that line breaks do not give a system away."""
    return " ".join((text or "").split())


def _csv(rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([[_harmless(cell) for cell in row] for row in rows])
    return buffer.getvalue()


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would take for a formula gets a quote in front."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell
