"""Looks and claims beside the truth of a phantom: was the lesion found early, is what is said shown?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pathagent_eval.bench.column import Column
from pathagent_eval.bench.item import Box, ClaimSaid, Item, Said
from pathagent_eval.grounding import TrueLook, all_shown, statement, states
from pathagent_eval.lesions import LESION_SHARE, TISSUE_SHARE, share_inside
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.scoring import retrieval
from pathagent_tools.core.scoring.report import Fact, values
from pathagent_tools.core.scoring.score import Score

if TYPE_CHECKING:
    from pathagent_tools.core.records import Findings
    from pathagent_tools.phantom.world import Phantom

Items = Sequence[Item]
Saids = Sequence[Said]
HIT_CURVE = (1, 2, 4, 6, 8, 12, 16)
"""Numbers of looks at which the hit curve is drawn."""


def mrr(items: Items, said: Saids) -> Column:
    """Mean of 1 / place of the first look on the lesion, over slides that have one."""
    column = _ranked(items, said, lambda ranked, relevant: retrieval.mrr(ranked, relevant))
    column.points.extend(
        (float(k), value) for k in HIT_CURVE if (value := _share(recall(items, said, k=k))) is not None
    )
    return column


def recall(items: Items, said: Saids, *, k: int) -> Column:
    """Share of slides with a lesion of which one of the first `k` looks lies on it."""
    return _ranked(items, said, lambda ranked, relevant: retrieval.recall_at(k, ranked, relevant))


def _share(column: Column) -> float | None:
    return sum(column.top) / sum(column.bottom) if sum(column.bottom) else None


def _ranked(items: Items, said: Saids, score: Any) -> Column:
    with_lesion = [bool(i.truth["lesion_polygons"]) for i in items]
    ranked = [
        ["lesion" if on_lesion(box, item) else f"look {n}" for n, box in enumerate(s.looks)]
        for item, s in zip(items, said, strict=True)
    ]
    kept = [r for r, has in zip(ranked, with_lesion, strict=True) if has]
    if not kept:
        return Column(
            signature="pathagent: no slide has a lesion", top=[0.0] * len(items), bottom=[0.0] * len(items)
        )
    found: Score = score(kept, [{"lesion"}] * len(kept))
    values_of = iter(found.items)
    return Column(
        signature=f"{found.signature}; a hit covers {LESION_SHARE:.0%} of the look with lesion",
        top=[next(values_of) if has else 0.0 for has in with_lesion],
        bottom=[float(has) for has in with_lesion],
        unparsed=found.missing,
    )


def background(items: Items, said: Saids) -> Column:
    """Share of looks of which less than a tenth lies inside a piece of tissue."""
    wasted = [
        [share_inside(box, item.truth["piece_polygons"]) < TISSUE_SHARE for box in s.looks]
        for item, s in zip(items, said, strict=True)
    ]
    return Column(
        signature="pathagent looks off the pieces of tissue",
        top=[float(sum(w)) for w in wasted],
        bottom=[float(len(w)) for w in wasted],
        higher_is_better=False,
    )


def claims_shown(items: Items, said: Saids) -> Column:
    """Share of claims that state something of which a cited look truly shows all."""
    shown = [
        [_shown(claim, item) for claim in s.claims if statement(claim.text)]
        for item, s in zip(items, said, strict=True)
    ]
    return Column(
        signature="pathagent claims that a cited look shows; a claim without a look is not shown",
        top=[float(sum(s)) for s in shown],
        bottom=[float(len(s)) for s in shown],
    )


def grounded_f1(items: Items, said: Saids) -> Column:
    """F1 of the facts that are right AND shown by a look that their claim cites.

    So neither one trivial claim with its look, nor a right report that points anywhere, gets far.
    """
    top, bottom = [], []
    for item, s in zip(items, said, strict=True):
        wanted = {Fact(slot, key, value) for slot, key, value in item.truth["facts"]}
        stated = [(fact, claim) for claim in s.claims for fact in _facts(claim.text)]
        right = {f for f, claim in stated if f in wanted and _shows_fact(f, claim, item)}
        top.append(2.0 * len(right))
        bottom.append(float(len({f for f, _ in stated}) + len(wanted)))
    return Column(
        signature="pathagent facts right and shown, F1; grade left out: a look has none",
        top=top,
        bottom=bottom,
        unparsed=sum(not s.claims for s in said),
    )


def _facts(text: str) -> list[Fact]:
    from pathagent_tools.phantom.true_facts import stated_facts

    return [fact for fact in stated_facts(text) if fact.slot != "grade" and fact.value != "uncertain"]


def _shows_fact(fact: Fact, claim: ClaimSaid, item: Item) -> bool:
    said = {fact.slot: frozenset(w for w in values(claim.text).get(fact.slot, ()))}
    return any(states(said, _true_look(box, item)) for box in claim.looks)


def _shown(claim: ClaimSaid, item: Item) -> bool:
    return all_shown(claim.text, [_true_look(box, item) for box in claim.looks])


def _true_look(box: Box, item: Item) -> TrueLook:
    return TrueLook(
        findings=findings(box, item),
        tissues=_world(_key(item)).tissues(_window(box, item)),
        lesion=on_lesion(box, item),
    )


def on_lesion(box: Box, item: Item) -> bool:
    """Whether a lesion covers enough of the look."""
    return share_inside(box, item.truth["lesion_polygons"]) >= LESION_SHARE


def findings(box: Box, item: Item) -> Findings:
    """The true findings of a look: the phantom is planned again from its seed, nothing is painted."""
    return _world(_key(item)).findings(_window(box, item))


def _window(box: Box, item: Item) -> tuple[float, float, float, float]:
    mpp = float(item.truth["mpp"])
    x, y, width, height = (v * mpp for v in box)
    return x, y, width, height


def _key(item: Item) -> tuple[int, str, bool]:
    from pathagent_tools.phantom import PHANTOM_VERSION

    truth = item.truth
    if truth["phantom_version"] != PHANTOM_VERSION:
        raise UserError(
            f"Item {item.id} is of phantom version {truth['phantom_version']}, this package draws "
            f"{PHANTOM_VERSION}. Make the slides again: pathagent eval run phantom_grounding -o DIR"
        )
    return int(truth["seed"]), str(truth["size"]), bool(truth["held_out_scanner"])


@cache
def _world(key: tuple[int, str, bool]) -> Phantom:
    from pathagent_eval.reports import Planned

    seed, size, held_out = key
    return Planned.model_validate({"seed": seed, "size": size, "held_out_scanner": held_out}).phantom()
