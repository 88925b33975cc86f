"""`pathagent eval navigation`: small lesions, simpler ways of looking beside the agent."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic


class SlideSize(StrEnum):
    """What `--size` takes."""

    SMALL = "small"
    STANDARD = "standard"


def navigation(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of slides, looks and the table.")],
    slides: Annotated[int, typer.Option(min=1, help="Phantoms.")] = 100,
    size: Annotated[SlideSize, typer.Option(help="standard: 8,192 px; small: 3,072 px.")] = (
        SlideSize.STANDARD
    ),
    first_seed: Annotated[int | None, typer.Option(help="First seed of the slides.")] = None,
    looks: Annotated[int, typer.Option(min=1, max=16, help="Budget of each way.")] = 8,
    ways: Annotated[str | None, typer.Option(help="By comma; default: all.")] = None,
) -> None:
    """Lesions of 0.05 to 1 % of the tissue, look-alikes on every slide: who looks at them, and how soon?

    Slides that `out` holds are not painted again, fields that the VLM has described are not described again.
    """
    from pathagent_eval.navigation import slides as made
    from pathagent_eval.navigation.run import run
    from pathagent_eval.navigation.table import markdown
    from pathagent_eval.navigation.walk import WAYS

    chosen = WAYS if ways is None else tuple(w.strip() for w in ways.split(","))
    if unknown := [w for w in chosen if w not in WAYS]:
        raise UserError(f"Unknown way of looking {unknown[0]!r}. Known: {', '.join(WAYS)}.")
    first = made.FIRST_SEED if first_seed is None else first_seed
    result, rows = run(out, slides, chosen, first_seed=first, looks=looks, tell=_tell, size=size.value)
    write_text_atomic(out / "navigation.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_text_atomic(out / "navigation.json", json.dumps(result, indent=2) + "\n")
    print(markdown(result))


def _tell(line: str) -> None:
    typer.echo(line, err=True)
