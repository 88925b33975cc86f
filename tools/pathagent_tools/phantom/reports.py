"""Reference reports: the truth of a slide in sentences, in several wordings."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any

from pathagent_tools.core.errors import UserError
from pathagent_tools.phantom.truth import Facts, PhantomTruth


@cache
def report_wordings() -> list[dict[str, Any]]:
    """The wording table of `data/reports.yaml`."""
    import yaml

    text = files("pathagent_tools.phantom").joinpath("data/reports.yaml").read_text(encoding="utf-8")
    table: list[dict[str, Any]] = yaml.safe_load(text)["wordings"]
    return table


def wording_count() -> int:
    """How many wordings there are, held-out ones included."""
    return len(report_wordings())


def reference_report(truth: PhantomTruth, wording: int) -> dict[str, Any]:
    """`{"text", "facts", "wording", "held_out"}`: the right report of a slide in one wording.

    UserError when there is no such wording.
    """
    text = report_text(truth.facts, wording, lesion_mm=lesion_diameter_mm(truth), pieces=truth.pieces)
    return {
        "text": text,
        "facts": truth.facts.model_dump(),
        "wording": wording,
        "held_out": bool(report_wordings()[wording]["held_out"]),
    }


def report_text(facts: Facts, wording: int, *, lesion_mm: float, pieces: int) -> str:
    """The report that states these facts in one wording. UserError when there is no such wording."""
    table = report_wordings()
    if not 0 <= wording < len(table):
        raise UserError(f"There is no report wording {wording}: give 0 to {len(table) - 1}.")
    entry = table[wording]
    text: str = entry[_template(facts)].format(
        diagnosis=facts.diagnosis,
        Diagnosis=facts.diagnosis[:1].upper() + facts.diagnosis[1:],
        grade=facts.grade,
        degree=facts.grade,
        architecture=facts.architecture,
        infiltrate="a diffuse infiltrate of lymphocytes"
        if facts.architecture == "diffuse infiltrate"
        else "a lymphocytic infiltrate",
        nuclear_grade=facts.nuclear_grade,
        mitoses=entry["mitoses"][facts.mitoses],
        necrosis=entry["necrosis"][facts.necrosis],
        inflammation=entry["inflammation"][facts.inflammation],
        lesion_mm=f"{float(f'{lesion_mm:.2g}'):g}",
        pieces=pieces,
    )
    return text


def lesion_diameter_mm(truth: PhantomTruth) -> float:
    """Diameter of the circle of the lesion's area."""
    return float(2.0 * (truth.lesion_mm2 / math.pi) ** 0.5)


def _template(facts: Facts) -> str:
    if facts.lesion == "absent":
        return "of_benign"
    return "of_inflammation" if facts.diagnosis == "chronic inflammation" else "of_neoplasm"
