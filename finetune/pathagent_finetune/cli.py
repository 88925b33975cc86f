"""`pathagent finetune …`: train the models behind the tools. Found through its entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pathagent_tools.core.errors import UserError

app = typer.Typer(help="Train the models behind the tools, by recipes that stop and resume.")

Out = Annotated[
    Path, typer.Option("--out", "-o", help="Training folder; the same command resumes what it holds.")
]
Recipe = Annotated[str, typer.Option("--recipe", help="Recipe file, or the name of one that ships.")]
Minutes = Annotated[
    float | None, typer.Option("--minutes", min=0.1, help="Stop after so long; type it again to go on.")
]
Tiles = Annotated[
    Path | None, typer.Option("--tiles", help="Where rendered tiles are kept. Default: OUT/tiles.")
]


@app.callback()
def _group() -> None:
    """Train the models behind the tools, by recipes that stop and resume."""


@app.command("encoder")
def encoder(out: Out, recipe: Recipe = "encoder", minutes: Minutes = None, tiles: Tiles = None) -> None:
    """Train the tile encoder; prints the folder of the model."""
    from pathagent_finetune.encoder_train import train

    print(train(recipe, out, minutes=minutes, tiles=tiles))


@app.command("vlm")
def vlm(
    out: Out,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe file or shipped name: `vlm`, with --data `lora`.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Your own examples (.jsonl, .csv or a folder): tune a LoRA adapter."),
    ] = None,
    minutes: Minutes = None,
    tiles: Tiles = None,
) -> None:
    """Train the embedded model, or with --data a LoRA adapter on any base; prints the folder."""
    if data is not None:
        if minutes is not None or tiles is not None:
            raise UserError("--minutes and --tiles belong to a training without --data: leave them out.")
        from pathagent_finetune import lora_train

        print(lora_train.train(recipe or "lora", data, out))
        return
    from pathagent_finetune.vlm_train import train

    print(train(recipe or "vlm", out, minutes=minutes, tiles=tiles))


@app.command("adapter")
def adapter(
    out: Out,
    recipe: Annotated[str, typer.Option("--recipe", help="Recipe file, or `adapter-answer` and the like.")],
    tiles: Tiles = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed than the recipe's.")] = None,
) -> None:
    """Train an adapter of the embedded VLM on phantoms and score it beside its base; prints the folder."""
    from pathagent_finetune.adapters import train_adapter

    print(train_adapter(recipe, out, tiles=tiles, seed=seed))
