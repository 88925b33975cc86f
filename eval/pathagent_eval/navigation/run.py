"""The whole measurement: slides one by one, every way at each, then the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from pathagent_eval.navigation.recalled import RecalledVlm
from pathagent_eval.navigation.slides import CROWD, SHARES, Size, SlideTruth, prepare
from pathagent_eval.navigation.table import first_hit, table
from pathagent_eval.navigation.walk import QUESTION, Walk, walks
from pathagent_tools.core.errors import UserError

Tell = Callable[[str], None]


def run(
    out: Path,
    count: int,
    ways: Sequence[str],
    *,
    first_seed: int,
    looks: int,
    tell: Tell,
    size: Size = "standard",
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(table, one record a slide). UserError where `out` holds slides of another first seed."""
    vlm, encoder = _models(out)
    rows: list[dict[str, Any]] = []
    truths: list[SlideTruth] = []
    for number, (slide, truth) in enumerate(prepare(out, count, first_seed=first_seed, size=size), 1):
        if number == 1 and (truth.seed - len(truth.passed_over), truth.size) != (first_seed, size):
            raise UserError(f"{out} holds slides of another seed or size. Give an empty folder with -o.")
        started = time.monotonic()
        found = walks(slide, truth, ways, looks=looks, vlm=vlm, encoder=encoder, store=out / "features")
        firsts = {way: first_hit(walk, truth) for way, walk in found.items()}
        rows.append(_row(truth, found, firsts))
        truths.append(truth)
        said = ", ".join(f"{way} {n or '-'}" for way, n in firsts.items())
        seconds = time.monotonic() - started
        tell(
            f"{number} {truth.diagnosis} {truth.lesion_mm:.2f} mm {truth.share:.2%}: {said} ({seconds:.0f} s)"
        )
    firsts_of = {way: [row["first_hit"][way] for row in rows] for way in ways}
    result = table(firsts_of, [t.seed for t in truths], looks)
    return {**_about(truths, first_seed, vlm, encoder), **result}, rows


def _models(out: Path) -> tuple[Any, Any]:
    """The embedded models, the VLM with a memory on disk."""
    from pathagent_eval.reports import models
    from pathagent_tools.vlm.adapters import adapter_digests
    from pathagent_tools.vlm.profile import load_profile

    vlm, encoder = models()
    weights = str(adapter_digests(load_profile("embedded").vlm.adapters))
    return RecalledVlm(vlm, out / "answers.sqlite", weights=weights), encoder


def _row(truth: SlideTruth, found: dict[str, Walk], firsts: dict[str, int | None]) -> dict[str, Any]:
    return {
        **truth.model_dump(exclude={"lesion"}),
        "lesion_mm": round(truth.lesion_mm, 3),
        "share": round(truth.share, 5),
        "first_hit": firsts,
        "walks": {way: walk.model_dump() for way, walk in found.items()},
    }


def _about(truths: Sequence[SlideTruth], first_seed: int, vlm: Any, encoder: Any) -> dict[str, Any]:
    """What was measured on, with what."""
    return {
        "first_seed": first_seed,
        "size": truths[0].size,
        "further_look_alikes": CROWD[truths[0].size],
        "lesion_share_drawn": list(SHARES[truths[0].size]),
        "lesion_share_median": round(median(t.share for t in truths), 5),
        "lesion_mm_median": round(median(t.lesion_mm for t in truths), 3),
        "held_out_scanners": sum(t.held_out_scanner for t in truths),
        "seeds_passed_over": {s: why for t in truths for s, why in t.passed_over.items()},
        "question": QUESTION,
        "encoder": [encoder.id, encoder.revision],
        "vlm": [vlm.id, vlm.revision],
    }
