"""Answers to the same question of several regions: do they change where what is asked for is gone?"""

from __future__ import annotations

from collections.abc import Sequence

from pathagent_eval.bench.column import Column
from pathagent_eval.bench.item import Item, Said
from pathagent_eval.perturbation import HERE
from pathagent_tools.core.scoring import vqa

Items = Sequence[Item]
Saids = Sequence[Said]


def answer_changes(items: Items, said: Saids, *, place: str = "") -> Column:
    """Share of perturbations that change the answer; place: of one kind.

    Where there was no answer to change, or what came instead cannot be read (a failed run, silence, an
    error's text), nothing has changed: it stays in the denominator, and is counted as unread.
    """
    return _column(items, said, place=place, right=False)


def right_and_changes(items: Items, said: Saids, *, place: str = "") -> Column:
    """Share of perturbations that change an answer that was right where it could be seen.

    Whoever answers at random changes many answers and is seldom right: this is the score to compare by.
    """
    return _column(items, said, place=place, right=True)


def _column(items: Items, said: Saids, *, place: str, right: bool) -> Column:
    top, bottom, unread = [], [], 0
    for item, s in zip(items, said, strict=True):
        kinds = [kind for kind in item.truth["places"] if kind != HERE and place in ("", kind)]
        counts = not right or vqa.vqa_strict([s.scored_text], [item.reference], [item.options]).value == 1
        top.append(float(sum(changed(s, kind, item) for kind in kinds)) if counts else 0.0)
        bottom.append(float(len(kinds)))
        unread += sum(
            vqa.read_answer(s.perturbed.get(kind), item.options).status == "unparsed" for kind in kinds
        )
    return Column(
        signature=f"pathagent answers that change{' and were right' if right else ''}, "
        f"{place or 'all perturbations'}",
        top=top,
        bottom=bottom,
        unparsed=unread,
    )


def changed(said: Said, kind: str, item: Item) -> bool:
    """Whether a perturbation changed what was said: to decline after an answer is a change."""
    here = vqa.read_answer(said.scored_text, item.options)
    there = vqa.read_answer(said.perturbed.get(kind), item.options)
    if here.status != "answered" or there.status == "unparsed":
        return False
    return there.status == "abstained" or vqa.plain(there.answer) != vqa.plain(here.answer)
