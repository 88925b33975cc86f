"""`pathagent generate TASK …`: synthetic images, marked in every way; `verify FILE` names their marks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pathagent.commands.console import emit, emit_json, say
from pathagent.commands.options import Force, Json
from pathagent_tools.core.errors import UserError

app = typer.Typer(help="Draw synthetic images: marked, vetted, never evidence.", no_args_is_help=False)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder; images go into its folder `synthetic`.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed draws the same images.")]
Steps = Annotated[int, typer.Option("--steps", help="Steps of the sampler.")]
Guidance = Annotated[
    float, typer.Option("--guidance", help="1 follows the words as learned; more exaggerates.")
]
Generator = Annotated[str, typer.Option("--generator", help="embedded, or local-dir:/path.")]
Prompt = Annotated[
    str | None, typer.Option("--prompt", help="e.g. 'high-grade solid carcinoma, pale stain'.")
]
Tissue = Annotated[str | None, typer.Option("--tissue", help="e.g. 'invasive tumour'.")]
Architecture = Annotated[str | None, typer.Option("--architecture", help="e.g. 'solid nests'.")]
Grade = Annotated[str | None, typer.Option("--grade", help="Nuclear grade: low, intermediate, high.")]
DrawnMpp = Annotated[float, typer.Option("--mpp", help="um per px: 0.5 to 2.")]
SourceMpp = Annotated[float, typer.Option("--mpp", help="um per px of an image file, or to read a slide at.")]
X = Annotated[int | None, typer.Option("--x", help="Centre of the field on a slide, level-0 px.")]
Y = Annotated[int | None, typer.Option("--y", help="Centre of the field on a slide, level-0 px.")]
StainOf = Annotated[Path | None, typer.Option("--stain-of", help="Image whose stain is wanted.")]
Picture = Annotated[Path, typer.Argument(help="Image file, or a slide with --x and --y.")]
DEFAULT_STEPS, DEFAULT_GUIDANCE = 16, 2.0


@app.callback()
def _group() -> None:
    """Draw synthetic images: marked, vetted, never evidence."""


@app.command("patches")
def patches(
    out: Out,
    prompt: Prompt = None,
    tissue: Tissue = None,
    architecture: Architecture = None,
    grade: Grade = None,
    n: Annotated[int, typer.Option("--n", help="How many, 1 to 16.")] = 4,
    density: Annotated[float | None, typer.Option("--density", help="Nuclei per mm2.")] = None,
    size: Annotated[float | None, typer.Option("--size", help="Mean nuclear area, um2.")] = None,
    pleomorphism: Annotated[
        float | None, typer.Option("--pleomorphism", help="Deviation / mean of nuclear area.")
    ] = None,
    stain_of: StainOf = None,
    like: Annotated[Path | None, typer.Option("--like", help="Image of which variants are wanted.")] = None,
    mpp: DrawnMpp = 1.0,
    seed: Seed = 0,
    steps: Steps = DEFAULT_STEPS,
    guidance: Guidance = DEFAULT_GUIDANCE,
    generator: Generator = "embedded",
    force: Force = False,
    json: Json = False,
) -> None:
    """Patches by words, dials, stain, or like an example."""
    request = {
        "prompt": prompt, "tissue": tissue, "architecture": architecture, "nuclear_grade": grade, "n": n,
        "density": density, "size": size, "pleomorphism": pleomorphism, "stain_of": stain_of, "like": like,
        "mpp": mpp, "seed": seed,
    }  # fmt: skip
    _run("patches", request, out, generator, steps, guidance, force=force, json=json)


@app.command("strip")
def strip(
    out: Out,
    dial: Annotated[str, typer.Option("--dial", help="grade, density, size or pleomorphism.")] = "grade",
    count: Annotated[int, typer.Option("--count", help="Images of the strip, 3 to 8.")] = 5,
    prompt: Prompt = None,
    tissue: Tissue = None,
    architecture: Architecture = None,
    mpp: DrawnMpp = 1.0,
    seed: Seed = 0,
    steps: Steps = DEFAULT_STEPS,
    guidance: Guidance = DEFAULT_GUIDANCE,
    generator: Generator = "embedded",
    force: Force = False,
    json: Json = False,
) -> None:
    """One dial turned up, step by step."""
    request = {
        "dial": dial, "steps": count, "prompt": prompt, "tissue": tissue, "architecture": architecture,
        "mpp": mpp, "seed": seed,
    }  # fmt: skip
    _run("strip", request, out, generator, steps, guidance, force=force, json=json)


@app.command("layout")
def layout(
    labels: Annotated[Path, typer.Argument(help="PNG of class numbers (see the README).")],
    out: Out,
    nuclei: Annotated[Path | None, typer.Option("--nuclei", help="Mask of nuclei of the same size.")] = None,
    stain_of: StainOf = None,
    mpp: DrawnMpp = 1.0,
    seed: Seed = 0,
    steps: Steps = DEFAULT_STEPS,
    guidance: Guidance = DEFAULT_GUIDANCE,
    generator: Generator = "embedded",
    force: Force = False,
    json: Json = False,
) -> None:
    """A map of tissue classes becomes an image."""
    request = {"layout": labels, "nuclei": nuclei, "stain_of": stain_of, "mpp": mpp, "seed": seed}
    _run("layout", request, out, generator, steps, guidance, force=force, json=json)


@app.command("field")
def field(
    labels: Annotated[Path, typer.Argument(help="Coarse PNG of class numbers.")],
    out: Out,
    scale: Annotated[int, typer.Option("--scale", help="px of the field per px of the map.")] = 8,
    stain_of: StainOf = None,
    mpp: DrawnMpp = 1.0,
    seed: Seed = 0,
    steps: Steps = 4,
    guidance: Guidance = 1.0,
    generator: Generator = "embedded",
    force: Force = False,
    json: Json = False,
) -> None:
    """A coarse map becomes a field of any size: a pyramidal TIFF."""
    request = {"layout": labels, "scale": scale, "stain_of": stain_of, "mpp": mpp, "seed": seed}
    _run("field", request, out, generator, steps, guidance, force=force, json=json)


@app.command("counterfactual")
def counterfactual(
    picture: Picture,
    out: Out,
    x: X = None,
    y: Y = None,
    mpp: SourceMpp = 1.0,
    prompt: Prompt = None,
    tissue: Tissue = None,
    architecture: Architecture = None,
    grade: Grade = None,
    seed: Seed = 0,
    steps: Steps = DEFAULT_STEPS,
    guidance: Guidance = DEFAULT_GUIDANCE,
    generator: Generator = "embedded",
    force: Force = False,
    json: Json = False,
) -> None:
    """What would have to change in a region for the other diagnosis."""
    request = {
        "source": {"path": picture, "x": x, "y": y, "mpp": mpp}, "prompt": prompt, "tissue": tissue,
        "architecture": architecture, "nuclear_grade": grade, "seed": seed,
    }  # fmt: skip
    _run("counterfactual", request, out, generator, steps, guidance, force=force, json=json)


@app.command("restore")
def restore(
    picture: Picture,
    mask: Annotated[Path, typer.Option("--mask", help="PNG of the picture's size, white where damaged.")],
    out: Out,
    x: X = None,
    y: Y = None,
    mpp: SourceMpp = 1.0,
    method: Annotated[
        str | None, typer.Option("--method", help="telea or generator; the card says which is better.")
    ] = None,
    seed: Seed = 0,
    steps: Steps = DEFAULT_STEPS,
    generator: Generator = "embedded",
    force: Force = False,
    json: Json = False,
) -> None:
    """Paint over what a mask marks: a guess at what was there."""
    request = {"source": {"path": picture, "x": x, "y": y, "mpp": mpp}, "mask": mask, "seed": seed}
    chosen = {"method": method} if method else {}
    _run("restore", request | chosen, out, generator, steps, 1.0, force=force, json=json)


@app.command("stain")
def stain(
    picture: Picture,
    reference: Annotated[Path, typer.Option("--reference", help="Image whose stain is wanted.")],
    out: Out,
    x: X = None,
    y: Y = None,
    mpp: SourceMpp = 1.0,
    method: Annotated[
        str, typer.Option("--method", help="vahadane, macenko, reinhard or generator.")
    ] = "vahadane",
    seed: Seed = 0,
    steps: Steps = DEFAULT_STEPS,
    generator: Generator = "embedded",
    force: Force = False,
    json: Json = False,
) -> None:
    """Bring a picture into the stain of another."""
    request = {
        "source": {"path": picture, "x": x, "y": y, "mpp": mpp}, "reference": reference, "method": method,
        "seed": seed,
    }  # fmt: skip
    _run("stain", request, out, generator, steps, 1.0, force=force, json=json)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="PNG, JPEG or TIFF.")],
    json: Json = False,
) -> None:
    """Say which marks of a synthetic image a file has."""
    from pathagent_tools.generators.marking.verify import REQUIRED
    from pathagent_tools.generators.marking.verify import verify as read
    from pathagent_tools.generators.registry import require_extra

    require_extra()
    marks = read(file)
    if json:
        emit_json(marks.model_dump(mode="json") | {"synthetic": marks.synthetic})
        return
    emit("synthetic: marks found" if marks.synthetic else "no mark of a synthetic image found")
    for mark in REQUIRED:
        note = f" ({marks.watermark_bits} of 32 bits)" if mark == "watermark" else ""
        if mark == "manifest" and marks.intact is not None:
            note = " (file unaltered since)" if marks.intact else " (file ALTERED since)"
        emit(f"  {mark:<10} {'yes' if mark in marks.found else 'no'}{note}")


def _run(
    task: str,
    request: dict[str, Any],
    out: Path,
    generator: str,
    steps: int,
    guidance: float,
    *,
    force: bool,
    json: bool,
) -> None:
    from pathagent.output_folder import whole_folder
    from pathagent_tools.generators.catalogue import run_task, task_named
    from pathagent_tools.generators.marking.writing import FOLDER
    from pathagent_tools.generators.registry import require_extra
    from pathagent_tools.generators.sampling import Sampling
    from pathagent_tools.generators.studio import Studio

    require_extra()
    asked = _checked(task_named(task).schema, request)
    studio = Studio(sampling=Sampling(steps=steps, guidance=guidance), name=generator)
    with whole_folder(out, force=force) as folder:
        done = run_task(studio, task, asked, folder)
    if json:
        emit_json({"out": str(out), **done.model_dump(mode="json")})
        return
    for image in done.images:
        emit(str(out / FOLDER / image.file))
    share = done.vetting.read_back_share
    if share is not None:
        say(
            f"read back: {share:.0%} of {done.vetting.claims_checked} claims found by encoder or measurements"
        )
    for name, value in done.numbers.items():
        if isinstance(value, (str, int, float)):
            say(f"{name}: {value}")


def _checked(schema: Any, request: dict[str, Any]) -> Any:
    """The request, or a UserError that names the first field that cannot be."""
    from pydantic import ValidationError

    try:
        return schema.model_validate(request)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        raise UserError(f"{where}: {first['msg']} (given: {first['input']!r}).") from None
