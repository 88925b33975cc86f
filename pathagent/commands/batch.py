"""`pathagent batch`: many cases, one table, and scores where references are known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pathagent.commands.console import emit, emit_json, say
from pathagent.commands.inputs import budget_of
from pathagent.commands.options import (
    CaseIndexFolder,
    Force,
    Json,
    Knowledge,
    Looks,
    Profile,
    Seconds,
    Seed,
    Tokens,
    VlmModel,
    VlmUrl,
)
from pathagent_tools.core.errors import BatchFailuresError, UserError
from pathagent_tools.core.files import write_text_atomic

if TYPE_CHECKING:
    from pathagent.batches.case import BatchCase, CaseResult
    from pathagent.batches.run import Plan, Planned

METRICS: Final = "facts,bleu,rouge_l,cider"


def batch(
    manifest: Annotated[
        list[str],
        typer.Argument(
            help="A CSV with a column slide (case, mpp, history, patient, reference …), or slides."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the batch; the same call resumes it.")],
    stages: Annotated[
        str, typer.Option("--stages", help="all, or stop early: triage, or triage,measure.")
    ] = "all",
    score: Annotated[
        bool, typer.Option("--score", help="Score the reports against their references.")
    ] = False,
    references: Annotated[
        Path | None,
        typer.Option("--references", help="CSV or JSONL with case,reference, if not in the manifest."),
    ] = None,
    metrics: Annotated[str, typer.Option("--metrics", help="Scores, by comma; meteor needs Java.")] = METRICS,
    profile: Profile = "embedded",
    vlm_url: VlmUrl = None,
    vlm_model: VlmModel = None,
    looks: Looks = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes side by side.")] = 1,
    engine: Annotated[
        str,
        typer.Option("--engine", help="local, or ray: the cluster of RAY_ADDRESS, else one of this machine."),
    ] = "local",
    encoders: Annotated[
        int, typer.Option("--encoders", min=0, help="With ray: actors that encode for all workers.")
    ] = 0,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds that one case may take.")
    ] = 3600.0,
    shard: Annotated[str | None, typer.Option("--shard", help="Part i of n, for example 1/4.")] = None,
    knowledge: Knowledge = None,
    case_index: CaseIndexFolder = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cases again.")] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Run many cases into one folder. Exit code 3 where some failed. Research use only."""
    from pathagent.batches.call import batch as run
    from pathagent.batches.run import write_results

    if score and (stages != "all" or shard):
        raise UserError(
            "Scores need the reports of all cases: leave --stages and --shard out, or score finished parts "
            "with: pathagent eval score OUT/predictions.jsonl --references REFS -o scores"
        )
    cases = _cases(manifest, references, score=score)
    scorer = _scorer(metrics) if score else None
    with _shown() as (planned, shown):
        for result in run(
            manifest,
            out,
            stages=stages,  # type: ignore[arg-type]
            profile=profile,
            vlm_url=vlm_url,
            vlm_model=vlm_model,
            budget=budget_of(looks=looks, tokens=tokens, seconds=seconds),
            seed=seed,
            workers=workers,
            timeout_s=timeout,
            shard=shard,
            retry_failed=retry_failed,
            force=force,
            planned=planned,
            engine=engine,  # type: ignore[arg-type]
            encoders=encoders,
            knowledge=knowledge,
            cases=case_index,
        ):
            shown(result)
    results = write_results(out.absolute(), cases)
    scores = scorer(out, cases) if scorer else None
    _tell(out, results, scores, json=json)
    failures = sum(r.state == "failed" for r in results)
    if failures:
        raise BatchFailuresError(
            f"{failures} of {len(results)} cases failed; why stands in {out / 'summary.md'}. "
            "To run those again, add --retry-failed."
        )


def _cases(manifest: list[str], references: Path | None, *, score: bool) -> list[BatchCase]:
    """The cases with their references. UserError where scores are wanted and a reference is missing."""
    from pathagent.batches.manifest import read_manifest, with_references
    from pathagent_tools.core.references import read_references

    cases = read_manifest(manifest)
    if references is not None:
        return with_references(cases, read_references(references))
    without = [case.name for case in cases if not case.reference]
    if score and without:
        raise UserError(
            f"{len(without)} of {len(cases)} cases have no reference, {without[0]} first. "
            "Fill the column reference of the manifest, or give --references FILE."
        )
    return cases


def _scorer(metrics: str) -> Any:
    """What scores `OUT/predictions.jsonl`; found before work starts, so that nothing is missing after it."""
    from pathagent_tools.core.registry import Registry
    from pathagent_tools.core.scoring.ngrams import check_metrics

    wanted = check_metrics(metrics)
    score = Registry("scorer", "pathagent.scorers").get("reports")

    def run(out: Path, cases: list[BatchCase]) -> Any:
        import json

        lines = [{"case": c.name, "patient": c.patient or c.name, "reference": c.reference} for c in cases]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text_atomic(out / "scores" / "references.jsonl", text)
        return score(
            out / "predictions.jsonl", out / "scores" / "references.jsonl", out / "scores", metrics=wanted
        )

    return run


@contextmanager
def _shown() -> Iterator[tuple[Planned, Any]]:
    """(told what is left, told each result): a bar with the time left, or nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield (_say_plan, lambda result: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:
        task = progress.add_task("cases", total=None)

        def planned(plan: Plan) -> None:
            _say_plan(plan)
            progress.update(task, total=len(plan.jobs))

        def shown(result: CaseResult) -> None:
            said = result.diagnosis or result.outcome or f"failed: {result.kind}"
            progress.console.print(f"{result.case}: {said} ({result.seconds:.0f} s)", markup=False)
            progress.advance(task)

        yield planned, shown


def _say_plan(plan: Plan) -> None:
    """What an earlier call left, where there was one."""
    if plan.done or plan.failed:
        again = " (add --retry-failed to run them again)" if plan.failed else ""
        say(f"{len(plan.done)} cases are done, {len(plan.failed)} failed{again}; {len(plan.jobs)} are left.")
    if plan.changed:
        say(f"Changed since they were done, so run again: {', '.join(plan.changed[:5])}")


def _tell(out: Path, results: list[CaseResult], scores: Any, *, json: bool) -> None:
    from pathagent.batches.summary import counts

    if json:
        left = {"thumbnail", "traceback"}
        rows = [r.model_dump(mode="json", exclude=left) for r in results]
        emit_json({"out": str(out), "counts": counts(results), "results": rows, "scores": scores})
        return
    for name, n in counts(results).items():
        emit(f"{n:>6}  {name}")
    if scores is not None:
        emit((out / "scores" / "scores.md").read_text(encoding="utf-8"))
    emit(str(out / "index.html"))
