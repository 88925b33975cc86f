"""Is this slide fit to be read as H&E? Tissue, focus, pen, colour order, stain."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Frozen, Region, TileSpec
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.vocabulary import Outcome
from pathagent_tools.slides.grid import tile_grid
from pathagent_tools.slides.resolution import NUCLEAR_MPP_LIMIT
from pathagent_tools.slides.slide import Slide
from pathagent_tools.slides.stain_kind import StainFinding, StainKind, stain_of_pixels
from pathagent_tools.slides.tissue import Tissue

FIELD_PX: Final = 256
N_FIELDS: Final = 24
MIN_TISSUE_MM2: Final = 0.02
SHARP: Final = 0.30
"""Fine detail ÷ middle detail of a field in focus; blurred fields lie near 0.1."""
MIN_FOCUS: Final = 0.3


class Quality(Frozen):
    """What a technician would say of the slide before anybody reads it.

    focus: share of sampled fields in focus, 0..1. pen_fraction: pen area ÷ (tissue + pen area), 0..1.
    outcome: 'report' where nothing stands in the way. usable: pixels may be read as H&E (a slide that is
    only too coarse for nuclei is usable for tissue measures).
    """

    findings: tuple[str, ...]
    focus: float
    pen_fraction: float
    blank: bool
    wrong_colours: bool
    stain: StainKind
    stain_reason: str
    usable: bool
    outcome: Outcome


def check_quality(slide: Slide, tissue: Tissue) -> Quality:
    """Judge a slide from its tissue mask and about two dozen fields. No weights; a few tenths of a second."""
    blank = tissue.area_mm2 < MIN_TISSUE_MM2
    pen_px = int(tissue.pen.sum())
    pen = pen_px / max(1, pen_px + int(tissue.mask.sum()))
    fields, um = sample_fields(slide, tissue)
    stain = _stain(tissue, fields, um)
    focus = _focus(fields, um)
    outcome = _outcome(slide, stain, blank=blank, focus=focus)
    return Quality(
        findings=tuple(_findings(slide, tissue, stain, pen=pen, focus=focus, blank=blank)),
        focus=focus,
        pen_fraction=pen,
        blank=blank,
        wrong_colours=stain.wrong_colours,
        stain=stain.kind,
        stain_reason=stain.reason,
        usable=outcome in ("report", "resolution too coarse"),
        outcome=outcome,
    )


def sample_fields(slide: Slide, tissue: Tissue, n: int = N_FIELDS) -> tuple[Image, float]:
    """Up to `n` fields [n, 256, 256, 3] spread evenly over the tissue, at 0.5 µm per px or the slide's own
    coarser resolution, and that resolution. The same slide gives the same fields."""
    um = max(0.5, slide.mpp)
    regions = spread_regions(slide, tissue, TileSpec(tile_px=FIELD_PX, mpp=um), n)
    pictures = slide.read_many(regions)
    return np.stack(pictures) if pictures else np.zeros((0, FIELD_PX, FIELD_PX, 3), np.uint8), um


def spread_regions(slide: Slide, tissue: Tissue, spec: TileSpec, n: int) -> list[Region]:
    """At most `n` tiles, evenly through the row-by-row list of the tissue's tiles; fuller tiles first."""
    regions: list[Region] = []
    for least in (0.6, 0.25, 0.02):
        regions = tile_grid(slide, tissue, spec, min_tissue=least)
        if len(regions) >= n:
            break
    if len(regions) <= n:
        return regions
    picks = np.linspace(0, len(regions) - 1, n).round().astype(int)
    return [regions[i] for i in picks]


def _stain(tissue: Tissue, fields: Image, um: float) -> StainFinding:
    background = tissue.background
    if background.kind == "dark":
        return StainFinding("fluorescence", False, "bright signal on a dark background")
    if background.kind == "coloured":
        colour = "#" + "".join(f"{round(v):02x}" for v in background.rgb)
        return StainFinding("unclear", True, f"the empty slide is coloured {colour} instead of white")
    if len(fields) == 0:
        return StainFinding("unclear", False, "too little stain to judge")
    return stain_of_pixels(fields, white=background.rgb if background.found else None, um_per_px=um)


def _outcome(slide: Slide, stain: StainFinding, *, blank: bool, focus: float) -> Outcome:
    if stain.wrong_colours:
        return "wrong colours"
    if stain.kind == "fluorescence":
        return "not H&E"
    if blank:
        return "no tissue"
    if stain.kind != "H&E":
        return "not H&E"
    if focus < MIN_FOCUS:
        return "unusable quality"
    return "resolution too coarse" if slide.mpp > 1.02 * NUCLEAR_MPP_LIMIT else "report"


def _findings(
    slide: Slide, tissue: Tissue, stain: StainFinding, *, pen: float, focus: float, blank: bool
) -> list[str]:
    said = []
    if blank:
        said.append(f"no tissue found ({tissue.area_mm2:.3f} mm²)")
    if stain.wrong_colours:
        said.append(stain.reason)
    elif stain.kind != "H&E" and not blank:
        said.append(f"{stain.kind.removeprefix('not H&E: ')}: {stain.reason}")
    if pen > 0.005:
        said.append(f"pen marks over {pen:.1%} of the stained area")
    if focus < 0.8 and not blank:
        said.append(f"out of focus in {1 - focus:.0%} of the sampled fields")
    if slide.mpp > 1.02 * NUCLEAR_MPP_LIMIT:
        said.append(
            f"scanned at {slide.mpp:.3g} µm per pixel: "
            f"nuclear measures are withheld above {NUCLEAR_MPP_LIMIT:g}"
        )
    return said


def sharpness(field: Image) -> float:
    """Detail at one pixel ÷ detail at four pixels in one field: about 0.5–1 in focus, 0.1 when blurred."""
    from scipy import ndimage

    grey = field.astype(np.float32).mean(-1)
    fine = grey - ndimage.gaussian_filter(grey, 1.0)
    middle = ndimage.gaussian_filter(grey, 1.0) - ndimage.gaussian_filter(grey, 4.0)
    contrast = float(middle.std())
    return float(fine.std()) / contrast if contrast > 1.0 else 0.0


def _focus(fields: Image, um: float) -> float:
    """Share of fields in focus. Fields are judged at 1 µm per px, where every scanner resolves."""
    if len(fields) == 0:
        return 0.0
    shrink = max(1, round(1.0 / um))
    values: NDArray[np.float64] = np.array([sharpness(_shrink(f, shrink)) for f in fields])
    return float((values >= SHARP).mean())


def _shrink(field: Image, factor: int) -> Image:
    h, w = (s // factor * factor for s in field.shape[:2])
    blocks = field[:h, :w].reshape(h // factor, factor, w // factor, factor, 3)
    return np.asarray(blocks.mean((1, 3)), dtype=np.uint8)
