"""What the embedded VLM is shown, and in which proportion: one draw, one example.

An example depends on its seed and the tile store only, so a resumed training sees what it would have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from random import Random
from typing import Any

from pathagent_finetune.corpus import belief, examples, simulate
from pathagent_finetune.corpus.example import Example
from pathagent_finetune.corpus.questions import Question, draw_question
from pathagent_finetune.corpus.verdicts import (
    family_of,
    shows_topic,
    verify_answer_example,
    verify_example,
)
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.records import Evidence, Measurement
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.encoders.tissue_map import SHARE_OF, TUMOUR_GRADE

HINTS = (
    "irregular invasive glands",
    "solid tumour nests",
    "single-file tumour cells",
    "tumour in mucin pools",
    "crowded dysplastic glands",
    "lymphoid infiltrate",
    "necrosis",
    "normal glands",
    "stroma",
    "smooth muscle",
    "adipose",
    "mucin",
    "background",
)
"""What the embedded encoder calls a tile, as candidates show it."""

MIX = {
    "diagnose": 0.17,
    "judge": 0.09,
    "write": 0.25,
    "cite": 0.08,
    "verify": 0.1,
    "navigate": 0.07,
    "verify answer": 0.05,
    "answer": 0.19,
}
"""Kinds of text examples and their shares, where a recipe gives no others."""

OPEN_BELOW = 0.85
"""A ledger whose leading hypothesis is less likely than this is an open one: without drawing more of
them a model learns to be sure."""
TRIES, AMBIGUOUS_SEEDS, NARROW_SEEDS = 12, 1 << 48, 1 << 50

_FIELD_MM2 = 0.192 * 0.192


def _measured(truth: dict[str, Any], rng: Random) -> tuple[Measurement, ...]:
    """What nuclear segmentation would say of the tile: the truth with its usual error."""
    if not truth["nuclei"]:
        return ()
    density = truth["nuclei"] / _FIELD_MM2 * math.exp(rng.gauss(-0.1, 0.3))
    area = (truth["area_um2"] or 28) * math.exp(rng.gauss(0, 0.3))
    return (
        Measurement(name="nuclei_per_mm2", label="nuclei", value=density, unit="/mm2"),
        Measurement(name="nuclear_area", label="nuclear area", value=area, unit="um2"),
    )


def tile_example(tile: int, store: TileStore, rng: Random) -> Example:
    """An example with an image: describe (7 in 10), verify, or a question on the region."""
    r = rng.random()
    if r < 0.72:
        return describe_tile(tile, store, rng)
    if r < 0.9:
        return verify_example(store.findings(tile), rng, tile=tile)
    return examples.slot_question_example(store.findings(tile), tile, rng)


def describe_tile(
    tile: int,
    store: TileStore,
    rng: Random,
    *,
    seen: Sequence[Measurement] | None = None,
    field_um: float = 192.0,
) -> Example:
    """Describe a tile: told what was measured of it (`seen`), else in two of five what might have been.

    One in ten of those measured is told without the encoder's reading, which not every encoder has.
    """
    if seen is None:
        seen = _measured(store.truth[tile], rng) if rng.random() < 0.4 else ()
    elif rng.random() < 0.1:
        seen = [m for m in seen if not m.name.startswith(SHARE_OF) and m.name != TUMOUR_GRADE]
    return examples.describe_example(store.findings(tile), tile, rng, measurements=seen, field_um=field_um)


def verify_tile(
    tile: int,
    store: TileStore,
    rng: Random,
    *,
    reword: float = 0.0,
    answers: float = 0.4,
    held_out: bool = False,
) -> Example:
    """A claim, or in a share `answers` an answer to a question, beside a look at a tile.

    reword: share of the questions in the many wordings of `corpus.wordings`. held_out: in wordings that no
    training uses.
    """
    findings = store.findings(tile)
    if rng.random() >= answers:
        return verify_example(findings, rng, tile=tile)
    leading = family_of(findings) if rng.random() < 0.7 else rng.choice(list(DIAGNOSES))
    question = draw_question(rng, diagnosis=leading, reword=reword, held_out=held_out)
    return verify_answer_example(question, findings, rng, tile=tile)


def text_example(
    seed: int,
    mix: Mapping[str, float] = MIX,
    hints: Sequence[str] = HINTS,
    *,
    reword: float = 0.0,
    narrow: float = 0.0,
) -> Example:
    """An example without an image: one of the roles that read the ledger, drawn by its share of `mix`.

    reword: share of its questions in the many wordings of `corpus.wordings`. narrow: share of the answers
    that are to be given from one to three looks.
    """
    rng = Random(f"text-{seed}")
    kind = _drawn(rng.random(), mix)
    case = _case(seed, kind)
    look = rng.choice([e.findings for e in case.evidence if e.findings])
    if kind == "diagnose":
        return examples.diagnose_example(case, rng)
    if kind == "judge":
        return examples.judge_example(case, rng, _asked(case, rng, reword) if rng.random() < 0.5 else None)
    if kind == "write":
        return examples.write_example(case, rng)
    if kind == "cite":
        return examples.cite_example(seed, rng)
    if kind == "verify":
        return verify_example(look, rng)
    if kind == "navigate":
        return examples.navigate_example(seed, hints, rng)
    q = _asked(case, rng, reword)
    if kind == "verify answer":
        return verify_answer_example(q, look, rng)
    if narrow and rng.random() < narrow:
        case = _narrowed(case, q, seed, rng)
    return examples.answer_example(case, q, rng)


def _narrowed(case: simulate.Case, question: Question, seed: int, rng: Random) -> simulate.Case:
    """A case of one to three looks; in half of those with a yes or no the first look shows what is asked."""
    if question.kind == "yesno" and rng.random() < 0.5:
        others = (simulate.draw_case(NARROW_SEEDS + TRIES * seed + i) for i in range(TRIES))
        for drawn in chain((case,), others):
            if shown := _showing(drawn, question):
                return simulate.narrowed(drawn, rng, shown)
    return simulate.narrowed(case, rng)


def _showing(case: simulate.Case, question: Question) -> list[Evidence]:
    """Looks that show what a yes-or-no question asks for."""
    return [e for e in case.evidence if e.findings and shows_topic(e.findings, question.topic)]


def _drawn(r: float, mix: Mapping[str, float]) -> str:
    for kind, share in mix.items():
        r -= share
        if r < 0:
            return kind
    return list(mix)[-1]


def _asked(case: simulate.Case, rng: Random, reword: float) -> Question:
    leading = belief.differential(case.evidence)[0].diagnosis
    return draw_question(rng, diagnosis=leading if rng.random() < 0.7 else case.diagnosis, reword=reword)


def _case(seed: int, kind: str) -> simulate.Case:
    """A case; half of those of the roles that weigh hypotheses are ones that the ledger leaves open."""
    case = simulate.draw_case(seed)
    if kind not in ("diagnose", "judge") or seed % 2:
        return case
    drawn = (simulate.draw_case(AMBIGUOUS_SEEDS + TRIES * seed + i) for i in range(TRIES))
    return next((c for c in drawn if belief.differential(c.evidence)[0].probability < OPEN_BELOW), case)
