"""`pathagent slide info`: what is known of a slide before anybody reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.options import Force, Json, Mpp, MppCsv

app = typer.Typer(help="Slide files.", no_args_is_help=False)


@app.callback()
def _group() -> None:
    """Slide files."""


@app.command("info")
def info(
    slide: Annotated[Path, typer.Argument(help="Slide file, or a folder that holds one DICOM series.")],
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    json: Json = False,
) -> None:
    """Print size, resolution and where it comes from, stain, quality and tissue of a slide."""
    facts = slide_facts(slide, mpp=mpp, mpp_csv=mpp_csv)
    if json:
        emit_json(facts)
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        emit(f"{name.replace('_', ' '):<{width}}  {_words(value)}")


@app.command("map")
def map_(
    slide: Annotated[Path, typer.Argument(help="Slide file, or a folder that holds one DICOM series.")],
    words: Annotated[str, typer.Argument(help="What to look for, in words: 'solid tumour nests'.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")],
    encoder: Annotated[
        str, typer.Option("--encoder", help="One with a text tower. See: pathagent models list.")
    ] = "embedded",
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Draw where on a slide words apply: every tile's likeness to them. Research use only."""
    from pathagent.importance_map import slide_map

    found = slide_map(slide, words, out=out, encoder=encoder, mpp=mpp, mpp_csv=mpp_csv, force=force)
    if json:
        emit_json({"out": str(out), "words": words, "encoder": found.encoder, "revision": found.revision,
                   "tiles": len(found.tiles.values), "best": found.best()})  # fmt: skip
        return
    for place in found.best():
        emit(f"{place['likeness']:.2f}  x {place['x']}, y {place['y']}, {place['width']} px")
    emit(str(out))


@app.command("classify")
def classify(
    slide: Annotated[Path, typer.Argument(help="Slide file, or a folder that holds one DICOM series.")],
    head: Annotated[Path, typer.Option("--head", help="Folder of pathagent finetune slide-head.")],
    encoder: Annotated[str | None, typer.Option("--encoder", help="The head's own, by default.")] = None,
    mpp: Mpp = None,
    mpp_csv: MppCsv = None,
    json: Json = False,
) -> None:
    """Name a slide by a head trained on one's own slides. Research use only."""
    from pathagent.slide_class import classify_slide

    found = classify_slide(slide, head, encoder=encoder, mpp=mpp, mpp_csv=mpp_csv)
    if json:
        emit_json({"slide": str(slide), "head": str(head), "probabilities": found})
        return
    for name, probability in found.items():
        emit(f"{probability:4.0%}  {name}")


def slide_facts(path: Path, *, mpp: float | None = None, mpp_csv: Path | None = None) -> dict[str, Any]:
    """Everything that the slide tools say of one slide, as JSON values. Raises SlideError."""
    from pathagent_tools.slides import check_quality, open_slide, tissue_mask

    with open_slide(path, mpp=mpp, mpp_csv=mpp_csv) as slide:
        tissue = tissue_mask(slide)
        quality = check_quality(slide, tissue)
        x, y, width, height = slide.bounds
        return {
            "name": slide.name,
            "vendor": slide.vendor,
            "size_px": [slide.width, slide.height],
            "bounds_px": [x, y, width, height],
            "size_mm": [round(slide.width * slide.mpp / 1000, 3), round(slide.height * slide.mpp / 1000, 3)],
            "mpp": round(slide.mpp, 6),
            "mpp_source": slide.mpp_source,
            "mpp_header": slide.mpp_header,
            "resolution_assumed_by_user": slide.resolution_assumed,
            "nominal_magnification": round(10 / slide.mpp, 1),
            "stain": quality.stain,
            "stain_reason": quality.stain_reason,
            "tissue_mm2": round(tissue.area_mm2, 3),
            "pieces": len(tissue.pieces),
            "focus": round(quality.focus, 3),
            "pen_fraction": round(quality.pen_fraction, 4),
            "quality": list(quality.findings),
            "usable": quality.usable,
            "outcome": quality.outcome,
            "sha256": slide.digest,
        }


def _words(value: Any) -> str:
    if isinstance(value, list):
        numbers = all(isinstance(v, (int, float)) for v in value)
        return (" × " if numbers and len(value) == 2 else "; ").join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
