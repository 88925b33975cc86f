"""`pathagent finetune …`: train the models behind the tools. Found through its entry point."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pathagent_tools.core.errors import UserError

app = typer.Typer(help="Train the models behind the tools, by recipes that stop and resume.")


class TileChoice(StrEnum):
    """How the tiles of a slide are chosen."""

    RANKED = "ranked"
    SPREAD = "spread"


class ReportPlace(StrEnum):
    """Where nearly identical reports may stand."""

    TOGETHER = "together"
    APART = "apart"


class HeadPooling(StrEnum):
    """How a slide head pools its tiles."""

    MEAN = "mean"
    ATTENTION = "attention"


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

Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 … Default: a GPU where there is one.")
]


@app.callback()
def _group() -> None:
    """Train the models behind the tools, by recipes that stop and resume."""


@app.command("encoder")
def encoder(
    out: Out,
    recipe: Recipe = "encoder",
    minutes: Minutes = None,
    tiles: Tiles = None,
    device: Device = None,
) -> None:
    """Train the tile encoder; prints the folder of the model."""
    from pathagent_finetune.encoder_train import train

    print(train(recipe, out, minutes=minutes, tiles=tiles, device=device))


@app.command("vlm")
def vlm(
    out: Out,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe file or shipped name: `vlm`, with --data `lora`.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Your own examples (.jsonl, .csv or a folder, of reviewed cases too): tune a LoRA adapter.",
        ),
    ] = None,
    minutes: Minutes = None,
    tiles: Tiles = None,
) -> None:
    """Train the embedded model, or with --data a LoRA adapter on any base; prints the folder."""
    if data is not None:
        if minutes is not None or tiles is not None:
            raise UserError("--minutes and --tiles belong to a training without --data: leave them out.")
        from pathagent_finetune import lora_train

        folder = lora_train.train(recipe or "lora", data, out)
        if lora_train.is_first_process():
            print(folder)
        return
    from pathagent_finetune.vlm_train import train

    print(train(recipe or "vlm", out, minutes=minutes, tiles=tiles))


@app.command("generator")
def generator(
    out: Out,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Recipe file or shipped name: generator, or generator-lora."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option("--base", help="Folder of a Stable-Diffusion-class pipeline: tune it."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="With --base: your tiles, a folder, .csv or .jsonl as for `vlm --data`."),
    ] = None,
    minutes: Minutes = None,
    tiles: Tiles = None,
    device: Device = None,
) -> None:
    """Train the image generator, or with --base a LoRA of a pipeline on your tiles; prints the folder."""
    if (base is None) != (data is None):
        raise UserError("A LoRA needs both: --base, the folder of a pipeline, and --data, your tiles.")
    if base is not None and data is not None:
        if tiles is not None:
            raise UserError("--tiles belongs to a training without --base: leave it out.")
        from pathagent_finetune import generator_lora

        found = generator_lora.train(
            recipe or "generator-lora", base, data, out, minutes=minutes, device=device
        )
        print(found)
        return
    from pathagent_finetune.generator_train import train

    print(train(recipe or "generator", out, minutes=minutes, tiles=tiles, device=device))


@app.command("mitoses")
def mitoses(out: Out, recipe: Recipe = "mitoses", minutes: Minutes = None, tiles: Tiles = None) -> None:
    """Train the mitosis detector; prints the folder of the model."""
    from pathagent_finetune.cell_train import train_cells
    from pathagent_finetune.mitosis_train import Mitoses

    print(train_cells(Mitoses, recipe, out, minutes=minutes, tiles=tiles))


@app.command("lymphocytes")
def lymphocytes(
    out: Out, recipe: Recipe = "lymphocytes", minutes: Minutes = None, tiles: Tiles = None
) -> None:
    """Train the lymphocyte counter; prints the folder of the model."""
    from pathagent_finetune.cell_train import train_cells
    from pathagent_finetune.lymphocyte_train import Lymphocytes

    print(train_cells(Lymphocytes, recipe, out, minutes=minutes, tiles=tiles))


@app.command("generator-scores")
def generator_scores(
    out: Annotated[Path, typer.Argument(help="Training folder of a generator, with its `model`.")],
    recipe: Recipe = "generator",
    tiles: Tiles = None,
    images: Annotated[int, typer.Option("--n", min=8, help="Images of the largest table.")] = 64,
    part: Annotated[
        list[str] | None, typer.Option("--part", help="Only this table (may be given several times).")
    ] = None,
) -> None:
    """Measure a trained generator again and write the tables into its card; prints the card's path."""
    from pathagent_finetune.generator_card import finish
    from pathagent_finetune.generator_recipe import load_recipe
    from pathagent_finetune.generator_train import render_fields

    plan = load_recipe(recipe)
    finish(plan, out / "model", render_fields(plan, tiles or out / "fields"), n=images, parts=part or ())
    print(out / "model" / "card.json")


@app.command("corpus")
def corpus(
    table: Annotated[
        Path,
        typer.Argument(
            help="CSV with columns slide, report (text or file), patient; mpp and split if known."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Corpus folder; the same command goes on in it.")],
    tiles: Annotated[int, typer.Option("--tiles", min=1, max=16, help="Tiles of each slide.")] = 4,
    choose: Annotated[
        TileChoice, typer.Option("--choose", help="As navigation ranks its first looks, or spread evenly.")
    ] = TileChoice.RANKED,
    profile: Annotated[
        str, typer.Option("--profile", help="Whose tile size, mpp and encoder are used.")
    ] = "embedded",
    validation: Annotated[
        float, typer.Option("--validation", min=0.01, max=0.9, help="Share of patients held out.")
    ] = 0.1,
    same_reports: Annotated[
        ReportPlace,
        typer.Option("--same-reports", help="Nearly identical reports: on one side, or anywhere."),
    ] = ReportPlace.TOGETHER,
    seed: Annotated[int, typer.Option("--seed", help="Draws the split and the wordings.")] = 0,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out rows that give nothing, and count them.")
    ] = False,
) -> None:
    """Turn slides and their reports into tuning data for `finetune vlm --data`; prints its path."""
    from pathagent_finetune.slide_corpus import build_corpus
    from pathagent_finetune.slide_tiles import TileMaker
    from pathagent_tools.vlm.profile import load_profile

    maker = TileMaker(load_profile(profile), tiles, choose.value, out)
    path = build_corpus(
        table, maker, validation=validation, seed=seed, same_reports=same_reports.value, skip_bad=skip_bad
    )
    print(path)


@app.command("slide-head")
def slide_head(
    slides: Annotated[Path, typer.Option("--slides", help="CSV with columns slide,label (patient,mpp).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the head.")],
    pooling: Annotated[HeadPooling, typer.Option("--pooling", help="How tiles become a slide.")] = (
        HeadPooling.MEAN
    ),
    encoder: Annotated[str, typer.Option("--encoder", help="See: pathagent models list.")] = "embedded",
    seed: Annotated[int, typer.Option("--seed", help="Draws folds and first weights.")] = 0,
) -> None:
    """Train a head that names whole slides from a few examples; prints its folder. Research use only."""
    from pathagent_finetune.slide_head import train

    print(train(slides, out, pooling=pooling.value, encoder=encoder, seed=seed))


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
