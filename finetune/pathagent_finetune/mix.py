"""What the embedded VLM is shown, and in which proportion: one draw, one example.

An example depends on its seed and the tile store only, so a resumed training sees what it would have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from pathagent_finetune.corpus import belief, examples, simulate
from pathagent_finetune.corpus.examples import Example
from pathagent_finetune.corpus.questions import draw_question
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.records import Measurement
from pathagent_tools.core.vocabulary import DIAGNOSES

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
    findings = store.findings(tile)
    r = rng.random()
    if r < 0.72:
        seen = _measured(store.truth[tile], rng) if rng.random() < 0.4 else ()
        return examples.describe_example(findings, tile, rng, measurements=seen)
    if r < 0.9:
        return examples.verify_tile_example(findings, tile, rng)
    return examples.slot_question_example(findings, tile, rng)


def text_example(seed: int, hints: Sequence[str] = HINTS) -> Example:
    """An example without an image: one of the roles that read the ledger."""
    rng = Random(f"text-{seed}")
    case = simulate.draw_case(seed)
    r = rng.random()
    if r < 0.17:
        return examples.diagnose_example(case, rng)
    if r < 0.26:
        return examples.judge_example(case, rng, [_question(rng).text])
    if r < 0.51:
        return examples.write_example(case, rng)
    if r < 0.59:
        return examples.cite_example(seed, rng)
    if r < 0.69:
        return examples.verify_case_example(case, rng)
    if r < 0.76:
        return examples.navigate_example(seed, hints, rng)
    q = _asked(case, rng)
    if r < 0.81:
        return examples.verify_answer_example(case, q.kind, q.topic, q.text, rng, options=q.options)
    return examples.answer_example(case, q.kind, q.topic, q.text, rng, options=q.options)


def _question(rng: Random) -> Any:
    return draw_question(rng, diagnosis=rng.choice(tuple(DIAGNOSES)))


def _asked(case: simulate.Case, rng: Random) -> Any:
    leading = belief.differential(case.evidence)[0].diagnosis
    return draw_question(rng, diagnosis=leading if rng.random() < 0.7 else case.diagnosis)
