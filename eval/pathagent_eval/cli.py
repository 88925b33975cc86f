"""`pathagent eval …`: scored runs on phantoms. Found by the command line through its entry point."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pathagent_eval.bench import cli as bench
from pathagent_eval.navigation.cli import navigation
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic

app = typer.Typer(help="Benchmarks and scores, beside what needs no slide.")
bench.register(app)
app.command("navigation")(navigation)

FirstSeed = Annotated[
    int | None, typer.Option(help="First seed of the slides. Default: the evaluation's own.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores.")]


def _write(out: Path, name: str, result: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    _write_lines(out / f"{name}.jsonl", lines)
    write_text_atomic(out / f"{name}.json", json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))


@app.callback()
def _group() -> None:
    """Benchmarks and scores, beside what needs no slide."""


@app.command("slots")
def slots(out: Out, tiles: Annotated[int, typer.Option(min=30)] = 400) -> None:
    """Does the VLM look? Slot accuracy on unseen tiles beside a blank image and the majority."""
    from pathagent_eval import slots as measure
    from pathagent_tools.vlm.profile import load_profile, open_vlm

    result = measure.table(open_vlm(load_profile("embedded")), tiles)
    write_text_atomic(out / "slots.json", json.dumps(result, indent=2) + "\n")
    print(measure.markdown(result))


@app.command("reports")
def reports(
    out: Out,
    small: Annotated[int, typer.Option(min=0, help="3,072 px phantoms.")] = 60,
    standard: Annotated[int, typer.Option(min=0, help="8,192 px phantoms.")] = 6,
    tiny: Annotated[int, typer.Option(min=0, help="8,192 px phantoms with a lesion of 0.2 to 0.3 mm.")] = 0,
    first_seed: FirstSeed = None,
    blank: Annotated[bool, typer.Option(help="Blind control: every image is white.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep every report beside its score.")] = False,
) -> None:
    """Draft reports of unseen phantoms, half of them from held-out scanners, and score them.

    Leaves `predictions.jsonl` and `references.jsonl` for `pathagent eval score`.
    """
    from pathagent_eval import reports as measure

    scores = []
    first = measure.FIRST_SEED if first_seed is None else first_seed
    for score in measure.run(
        measure.plan(small, standard, tiny, first_seed=first),
        out / "work",
        blank=blank,
        keep=out / "reports" if keep else None,
    ):
        scores.append(score)
        typer.echo(
            f"{score.seed} {score.truth}, {score.truth_grade}: {score.verdict} ({score.said})", err=True
        )
    for name, rows in measure.texts(scores).items():
        _write_lines(out / f"{name}.jsonl", rows)
    lines = [s.model_dump() | {"verdict": s.verdict} for s in scores]
    _write(out, "reports-blank" if blank else "reports", measure.summary(scores), lines)


@app.command("retrieval")
def retrieval(
    out: Out,
    slides: Annotated[int, typer.Option(min=2, help="3,072 px phantoms: the pool.")] = 200,
    first_seed: FirstSeed = None,
    encoder: Annotated[str, typer.Option("--encoder", help="See: pathagent models list.")] = "embedded",
) -> None:
    """Which of all reports belongs to a slide? Embeddings of unseen slides and reports, nothing else."""
    from pathagent_eval import retrieval as measure
    from pathagent_tools.encoders.registry import load_encoder

    first = measure.FIRST_SEED if first_seed is None else first_seed
    model = load_encoder(encoder)
    table, rows = measure.run(
        slides, out / "work", model, first_seed=first, tell=lambda line: typer.echo(line, err=True)
    )
    _write(out, "retrieval", table, rows)


@app.command("questions")
def questions(
    out: Out,
    slides: Annotated[int, typer.Option(min=1)] = 12,
    per_slide: Annotated[int, typer.Option(min=1, help="Answerable questions a slide, and as many not.")] = 5,
    first_seed: FirstSeed = None,
) -> None:
    """Ask what H&E cannot show, and answerable twins in the same wordings."""
    from pathagent_eval import questions as measure

    scores = []
    first = measure.FIRST_SEED if first_seed is None else first_seed
    for score in measure.run(slides, per_slide, out / "work", first_seed=first):
        scores.append(score)
        typer.echo(f"{score.topic} [{score.language}]: {score.said!r} ({score.answer})", err=True)
    _write(out, "questions", measure.summary(scores), [s.model_dump() for s in scores])


@app.command("parity")
def parity(
    out: Out,
    profile: Annotated[str, typer.Option(help="A profile whose model can also run in this process.")] = (
        "embedded"
    ),
    vlm_url: Annotated[
        str | None, typer.Option("--vlm-url", help="A server of that profile; default: one is started.")
    ] = None,
    slides: Annotated[int, typer.Option(min=1, help="Small phantoms whose runs give the prompts.")] = 10,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts for the base and for each adapter.")] = 200,
    first_seed: FirstSeed = None,
) -> None:
    """Compare vLLM with this process: the same recorded prompts, base and adapters, and whole reports."""
    from tempfile import TemporaryDirectory

    from pathagent_eval import parity as measure
    from pathagent_eval import recorded
    from pathagent_tools.vlm.profile import load_profile

    first = recorded.FIRST_SEED if first_seed is None else first_seed
    seeds = range(first, first + slides)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as work:
        rows, reports = measure.run(
            load_profile(profile), seeds, prompts, Path(work), log=out / "vllm.log", url=vlm_url
        )
    _write(out, "parity", measure.summary(rows, reports), [*rows.values(), *reports])


@app.command("score")
def score(
    predictions: Annotated[
        Path, typer.Argument(help="CSV or JSONL with case (or id), text (status, confidence, looks, claims).")
    ],
    out: Out,
    references: Annotated[
        Path | None, typer.Option("--references", help="Reports: CSV or JSONL with case,reference (patient).")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", help="One of pathagent eval list, or a YAML file.")
    ] = None,
    data: bench.Data = None,
    items_file: bench.ItemsFile = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="By comma: facts, bleu, rouge_l, cider, meteor, meteor_nltk, …")
    ] = "facts,bleu,rouge_l,cider",
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores.json instead of the table.")] = False,
) -> None:
    """Score what any system said, beside what needs no slide: of a benchmark, or of a table of references."""
    if (references is None) == (benchmark is None):
        raise UserError("Say what is right: --references TABLE, or --benchmark NAME with --data or --items.")
    if benchmark is not None:
        bench.score_benchmark(benchmark, predictions, out, data=data, items_file=items_file, seed=seed)
        return
    assert references is not None
    from pathagent_eval.predictions import score_predictions
    from pathagent_tools.core.scoring.ngrams import check_metrics

    result = score_predictions(predictions, references, out, metrics=check_metrics(metrics), seed=seed)
    print(json.dumps(result, indent=2) if as_json else (out / "scores.md").read_text(encoding="utf-8"))
