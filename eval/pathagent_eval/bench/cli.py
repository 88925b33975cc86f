"""The commands of the benchmarks: `pathagent eval list | items | run | score | compare | report | sheets`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic

if TYPE_CHECKING:
    from pathagent_eval.bench.benchmark import Benchmark
    from pathagent_eval.bench.item import Item, Said
    from pathagent_eval.bench.results import Results

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores.")]
Data = Annotated[Path | None, typer.Option(help="Folder with your copy of the benchmark's data.")]
ItemsFile = Annotated[Path | None, typer.Option("--items", help="items.jsonl that an earlier command left.")]
Seed = Annotated[int, typer.Option(help="Of the resampling.")]


def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the benchmarks, where their data comes from, and what their numbers compare with."""
    from pathagent_eval.bench.benchmark import load, names

    every = [load(name) for name in names()]
    if as_json:
        print(json.dumps([b.model_dump() for b in every], indent=2))
        return
    for b in every:
        print(f"{b.task} {b.metadata.version:g}: {b.metadata.description}")
        print(f"    data: {b.metadata.source} Licence: {b.metadata.licence}")
        print(f"    comparable: {b.metadata.comparable}")


def items(
    task: Annotated[str, typer.Argument(help="Benchmark, or the path of a YAML file.")],
    data: Annotated[Path, typer.Option(help="Folder with your copy of its data.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSONL file to write.")],
) -> None:
    """Write the items of a public benchmark, for any system to answer."""
    from pathagent_eval.bench.benchmark import load
    from pathagent_eval.bench.formats import items_of
    from pathagent_eval.bench.item import write_jsonl

    found = items_of(load(task), data)
    write_jsonl(out, found)
    print(f"{out}: {len(found)} items")


def run(
    out: Out,
    tasks: Annotated[list[str] | None, typer.Argument(help="Phantom benchmarks; default: all.")] = None,
    slides: Annotated[int, typer.Option(min=2, help="Small phantoms, shared by all benchmarks.")] = 30,
    questions: Annotated[int, typer.Option(min=1, help="Answerable questions a slide.")] = 2,
    safety: Annotated[int, typer.Option(min=1, max=10, help="Pairs of unanswerable and answerable.")] = 1,
    perturbed: Annotated[int, typer.Option(min=0, max=5, help="Questions of single regions a slide.")] = 1,
    full: Annotated[
        bool, typer.Option("--full", help="120 slides, 4 questions, 2 pairs, 2 regions.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    first_seed: Annotated[int | None, typer.Option(help="First seed. Default: the benchmarks' own.")] = None,
    seed: Seed = 0,
) -> None:
    """Run the embedded models on phantoms, with what needs no slide beside them, and score them.

    The same command goes on after a stop.
    """
    from pathagent_eval.bench import phantoms
    from pathagent_eval.bench.phantom_run import FIRST_SEED, Ask

    wanted = _phantom_tasks(tasks)
    asked = Ask(questions=questions, safety=safety, perturbed=perturbed)
    many, ask = (120, Ask(questions=4, safety=2, perturbed=2)) if full else (slides, asked)
    records = phantoms.run(
        out,
        slides=many,
        ask=ask,
        workers=workers,
        first_seed=FIRST_SEED if first_seed is None else first_seed,
        done=lambda done, of: typer.echo(f"{done} of {of} slides", err=True),
    )
    every = []
    for task, (found, said) in phantoms.taken_apart(records).items():
        if task in wanted and found:
            every.append(_score_run(wanted[task], found, said, out / task, seed))
    _write_report(out, every)


def _phantom_tasks(tasks: list[str] | None) -> dict[str, Benchmark]:
    from pathagent_eval.bench.benchmark import load
    from pathagent_eval.bench.phantoms import TASKS

    wanted = {task: load(task) for task in tasks or TASKS}
    others = [task for task, bench in wanted.items() if not bench.phantom]
    if others:
        raise UserError(
            f"{others[0]} needs slides of your own: pathagent eval items {others[0]} writes the items. "
            f"Answer them with any system, then type pathagent eval score PREDICTIONS --benchmark {others[0]}"
        )
    return wanted


def _score_run(
    bench: Benchmark, found: list[Item], said: dict[str, list[Said]], folder: Path, seed: int
) -> Results:
    from pathagent_eval.bench.benchmark import save
    from pathagent_eval.bench.compare import BENCHMARK, ITEMS, PREDICTIONS
    from pathagent_eval.bench.item import write_jsonl
    from pathagent_eval.bench.results import SYSTEM
    from pathagent_eval.bench.score import score

    save(bench, folder / BENCHMARK)
    write_jsonl(folder / ITEMS, found)
    write_jsonl(folder / PREDICTIONS, said[SYSTEM])
    floors = {name: rows for name, rows in said.items() if name != SYSTEM}
    for name, rows in floors.items():
        write_jsonl(folder / "floors" / f"{name.replace(' ', '_').replace(chr(39), '')}.jsonl", rows)
    results = score(bench, found, said[SYSTEM], looked_floors=floors, seed=seed)
    results.save(folder)
    return results


def score_benchmark(
    task: str, predictions: Path, out: Path, *, data: Path | None, items_file: Path | None, seed: int
) -> None:
    """Score predictions that any system made; writes items, predictions, results and tables into `out`."""
    from pathagent_eval.bench.benchmark import load
    from pathagent_eval.bench.item import matched, read_said
    from pathagent_eval.bench.results import SYSTEM

    bench = load(task)
    found = _items(bench, data, items_file)
    said = matched(found, read_said(predictions), predictions)
    _write_report(out, [_score_run(bench, found, {SYSTEM: said}, out, seed)])


def _items(bench: Benchmark, data: Path | None, items_file: Path | None) -> list[Item]:
    from pathagent_eval.bench.formats import items_of
    from pathagent_eval.bench.item import read_items

    if (data is None) == (items_file is None):
        raise UserError(f"Say where the items of {bench.task} are: --data FOLDER, or --items items.jsonl.")
    return items_of(bench, data) if data is not None else read_items(items_file or Path())


def compare(
    ours: Annotated[Path, typer.Argument(help="Scored folder of the one system.")],
    theirs: Annotated[Path, typer.Argument(help="Scored folder of the other, on the same items.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file to write as well.")] = None,
    seed: Seed = 0,
) -> None:
    """Compare two systems in pairs: nothing is called better on fewer than 30 patients."""
    from pathagent_eval.bench import compare as measure
    from pathagent_eval.bench.benchmark import load
    from pathagent_eval.bench.item import matched, read_items, read_said
    from pathagent_eval.bench.results import Results

    first, second = Results.read(ours), Results.read(theirs)
    measure.check_same_items(ours, theirs, (first.data_sha256, second.data_sha256))
    found = read_items(ours / measure.ITEMS)
    said = [
        matched(found, read_said(folder / measure.PREDICTIONS), folder / measure.PREDICTIONS)
        for folder in (ours, theirs)
    ]
    gains = measure.compare(load(str(ours / measure.BENCHMARK)), found, *said, seed=seed)
    print(measure.markdown(first.title, gains, (str(ours), str(theirs))))
    if out is not None:
        write_text_atomic(out, json.dumps({k: g.model_dump() for k, g in gains.items()}, indent=2) + "\n")


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders with results.json, or folders of such.")],
    out: Out,
) -> None:
    """Tables and plots of scored folders as report.md and report.html."""
    from pathagent_eval.bench.results import RESULTS, Results

    paths = [path for folder in folders for path in _results_in(folder, RESULTS)]
    _write_report(out, [Results.read(path) for path in paths])


def _results_in(folder: Path, name: str) -> list[Path]:
    found = [folder / name] if (folder / name).is_file() else sorted(folder.glob(f"*/{name}"))
    return found or [folder]


def _write_report(out: Path, every: list[Results]) -> None:
    from pathagent_eval.bench.page import html
    from pathagent_eval.bench.table import markdown

    text = markdown(every)
    write_text_atomic(out / "report.md", text)
    write_text_atomic(out / "report.html", html(every))
    print(text)


def sheets(
    first: Annotated[Path, typer.Argument(help="predictions.jsonl of the one system.")],
    second: Annotated[Path, typer.Argument(help="predictions.jsonl of the other.")],
    items_file: Annotated[Path, typer.Option("--items", help="items.jsonl of both.")],
    out: Out,
    seed: Annotated[int, typer.Option(help="Of the order and the sides.")] = 0,
) -> None:
    """Blinded sheets for expert readers: pairs in random order, the key in a folder of its own."""
    from pathagent_eval.bench import sheets as make
    from pathagent_eval.bench.item import matched, read_items, read_said

    found = read_items(items_file)
    said = [matched(found, read_said(path), path) for path in (first, second)]
    rows = make.pairs(found, *said, seed=seed)
    make.write(out, rows, (str(first), str(second)))
    print(f"{out / 'for_readers'}: {len(rows)} pairs. Keep {out / 'key'} from the readers.")


def register(app: typer.Typer) -> None:
    """Add these commands to `pathagent eval`."""
    app.command("list")(list_)
    for command in (items, run, compare, report, sheets):
        app.command(command.__name__)(command)
