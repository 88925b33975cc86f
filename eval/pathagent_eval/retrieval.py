"""Which report belongs to this slide? Unseen phantoms through the whole scan, reports in unseen wordings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pathagent_eval.reports import case_name, make_case, plan
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.core.scoring.resampling import bootstrap
from pathagent_tools.core.scoring.retrieval import matched
from pathagent_tools.encoders.scan import scan_slide
from pathagent_tools.encoders.slide_text import embed_report, embed_slide
from pathagent_tools.phantom.reports import reference_report, report_wordings
from pathagent_tools.slides import open_slide, tissue_mask

FIRST_SEED = 90_000_000
"""No recipe draws seeds from this range."""
KS = (1, 5, 10)


def run(
    count: int, work: Path, encoder: SlideEncoder, *, first_seed: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(table, one row a slide) of `count` small phantoms, every second one from a held-out scanner."""
    held_out = [i for i, w in enumerate(report_wordings()) if w["held_out"]]
    slides, reports, rows = [], [], []
    for number, planned in enumerate(plan(count, 0, first_seed=first_seed)):
        path, _, truth = make_case(planned, work / case_name(planned))
        with open_slide(path) as slide:
            features = scan_slide(slide, tissue_mask(slide), encoder).features
        shutil.rmtree(work / case_name(planned))
        text = reference_report(truth, held_out[number % len(held_out)])["text"]
        slides.append(embed_slide(features, encoder))
        reports.append(embed_report(text, encoder))
        rows.append({"seed": planned.seed, "report": text, "facts": truth.facts.model_dump()})
        tell(f"{number + 1} of {count}: {text[:70]}")
    likeness = np.stack(slides) @ np.stack(reports).T
    same = np.array([[a["facts"] == b["facts"] for b in rows] for a in rows])
    found = matched(likeness, same, KS)
    seeds = [row["seed"] for row in rows]
    table = {name: str(bootstrap(list(score.items), seeds)) for name, score in found.items()}
    chance = {f"chance R@{k}": round(min(k, count) / count, 4) for k in KS}
    for row, order in zip(rows, np.argsort(-likeness, axis=1, kind="stable"), strict=True):
        row["found"] = [seeds[j] for j in order[: max(KS)]]
    about = {"pool": count, "encoder": [encoder.id, encoder.revision], "first_seed": first_seed}
    return about | table | chance, rows
