"""A report beside tiles of its slide, as instructions: write the report, and questions on its facts."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

from pathagent_finetune.slide_table import SlideRow
from pathagent_finetune.slide_tiles import Tile
from pathagent_finetune.tuning_example import IMAGE_MARK, Message, Split, TuningExample
from pathagent_tools.core.scoring.report import values


@cache
def question_table() -> dict[str, Any]:
    """The wordings of `report_questions.yaml`."""
    import yaml

    text = files("pathagent_finetune").joinpath("report_questions.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def examples_of_report(
    row: SlideRow, tiles: list[Tile], out: Path, *, split: Split, seed: int
) -> list[TuningExample]:
    """The report example, then one for each fact that the rule extractor finds in the text.

    Which wording is used follows from the seed and the row's place alone.
    """
    table, field = question_table(), tiles[0]
    um = round(field.size_px[0] * field.region.mpp)
    fields = f"{len(tiles)} field{'s' if len(tiles) > 1 else ''} of {um} µm of one slide"
    asked = [("report", table["report"], row.report)]
    stated = values(row.report)
    asked += [
        (slot, wordings, "; ".join(sorted(stated[slot])))
        for slot, wordings in table["facts"].items()
        if slot in stated
    ]
    made = []
    for name, wordings, said in asked:
        wording = Random(f"{seed}:{row.place}:{name}").choice(wordings).replace("{fields}", fields)
        made.append(
            TuningExample(
                id=f"{row.place}#{name}",
                patient=row.patient,
                split=split,
                role="report" if name == "report" else "question",
                images=tuple(out / tile.file for tile in tiles),
                prompt=(
                    Message(role="system", content=table["system"]),
                    Message(role="user", content=IMAGE_MARK * len(tiles) + wording),
                ),
                completion=said,
            )
        )
    return made
