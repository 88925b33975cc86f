"""Measurements of a region or a whole slide, in µm: real on any H&E, no weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.geometry import Region, TileSpec
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Measurement
from pathagent_tools.measure.nuclei import Nuclei, detect_nuclei
from pathagent_tools.measure.stain import StainMatrix
from pathagent_tools.slides.background import optical_density
from pathagent_tools.slides.grid import tile_grid
from pathagent_tools.slides.resolution import NUCLEAR_MPP_LIMIT
from pathagent_tools.slides.slide import Slide
from pathagent_tools.slides.tissue import Tissue

FIELD_PX: Final = 512
FIELD_MPP: Final = 0.5
N_FIELDS: Final = 32
_TISSUE_DENSITY = 0.15
_WITHHELD = f"nuclear measures withheld above {NUCLEAR_MPP_LIMIT:g} µm per px"
_ASSUMED = "resolution assumed by user"


def measure_region(rgb: Image, mpp: float, stain: StainMatrix) -> tuple[Measurement, ...]:
    """Tissue fraction and nuclei of one RGB field [h, w, 3] at `mpp` µm per px.

    Above 1 µm per px nuclear measures are withheld and the note of the tissue fraction says so.
    """
    share = tissue_fraction(rgb, mpp, stain)
    if mpp > 1.02 * NUCLEAR_MPP_LIMIT:
        return (_percent(share, note=f"{_WITHHELD} (this is {mpp:.3g})"),)
    nuclei = detect_nuclei(rgb, mpp, stain)
    area = share * rgb.shape[0] * rgb.shape[1] * (mpp / 1000) ** 2
    density = len(nuclei) / area if share > 0.02 else 0.0
    per_mm2 = Measurement(
        name="nuclei_per_mm2",
        label="Nuclei per mm² of tissue",
        value=round(density),
        unit="/mm2",
        n=len(nuclei),
    )
    return (_percent(share), per_mm2, *_populations([nuclei]))


def measure_slide(
    slide: Slide, tissue: Tissue, stain: StainMatrix, n_regions: int = N_FIELDS, seed: int = 0
) -> tuple[Measurement, ...]:
    """Tissue area, pieces, stain, and nuclei over a stratified sample of fields.

    `n_regions` fields of 512 px at 0.5 µm per px (the slide's own where that is coarser, up to 1.0) are
    drawn from (seed, slide id), one from each stretch of the tissue. The density's value is the mean over
    all sampled tissue; its quantiles are between fields. Above 1 µm per px nuclear measures are withheld.
    """
    measured = [
        Measurement(name="tissue_area", label="Tissue area", value=round(tissue.area_mm2, 3), unit="mm2"),
        Measurement(name="tissue_pieces", label="Pieces of tissue", value=len(tissue.pieces), unit="1"),
        _stain_measure(stain),
    ]
    if slide.mpp > 1.02 * NUCLEAR_MPP_LIMIT:
        measured[0] = measured[0].model_copy(update={"note": f"{_WITHHELD} (this is {slide.mpp:.3g})"})
    else:
        measured += _sampled(slide, tissue, stain, n_regions, seed)
    return tuple(_with_note(m) if slide.resolution_assumed and "µm" in _unit(m) else m for m in measured)


def stratified_fields(slide: Slide, tissue: Tissue, spec: TileSpec, n: int, seed: int) -> list[Region]:
    """`n` tiles of the tissue, one at random from each of `n` equal stretches of the row-by-row list."""
    regions: Sequence[Region] = tile_grid(slide, tissue, spec, min_tissue=0.5)
    if not regions:
        regions = tile_grid(slide, tissue, spec, min_tissue=0.1)
    if len(regions) <= n:
        return list(regions)
    random = np.random.default_rng([seed, *slide.id.encode()])
    edges = np.linspace(0, len(regions), n + 1)
    return [regions[int(random.uniform(a, b))] for a, b in pairwise(edges)]


def tissue_fraction(rgb: Image, mpp: float, stain: StainMatrix) -> float:
    """Share of a field that is tissue, 0..1: denser than the empty slide after smoothing over 3 µm."""
    from scipy import ndimage

    density = optical_density(rgb, stain.white).sum(-1)
    return float((ndimage.gaussian_filter(density, 3.0 / mpp) > _TISSUE_DENSITY).mean())


def _sampled(slide: Slide, tissue: Tissue, stain: StainMatrix, n: int, seed: int) -> list[Measurement]:
    mpp = max(FIELD_MPP, slide.mpp)
    regions = stratified_fields(slide, tissue, TileSpec(tile_px=FIELD_PX, mpp=mpp), n, seed)
    found, areas = [], []
    for region in regions:
        rgb = slide.read(region)
        found.append(detect_nuclei(rgb, mpp, stain))
        areas.append(tissue_fraction(rgb, mpp, stain) * rgb.shape[0] * rgb.shape[1] * (mpp / 1000) ** 2)
    total = sum(areas)
    if total <= 0:
        return []
    each = [len(f) / a for f, a in zip(found, areas, strict=True) if a > 0.1 * max(areas)]
    density = Measurement(
        name="nuclei_per_mm2",
        label="Nuclei per mm² of tissue",
        value=round(sum(len(f) for f in found) / total),
        unit="/mm2",
        q05=round(float(np.percentile(each, 5))),
        q95=round(float(np.percentile(each, 95))),
        n=len(regions),
    )
    return [density, *_populations(found)]


def _populations(fields: Sequence[Nuclei]) -> list[Measurement]:
    """Median and quantiles over all nuclei of the fields; nothing where there are none."""
    if not sum(len(f) for f in fields):
        return []
    return [
        _spread("nuclear_area", "Nuclear area", [f.area_um2 for f in fields], "um2", 1),
        _spread("nuclear_eccentricity", "Nuclear eccentricity", [f.eccentricity for f in fields], "1", 3),
        _spread("nuclear_haematoxylin", "Nuclear haematoxylin (optical density)",
                [f.haematoxylin for f in fields], "1", 3),
    ]  # fmt: skip


def _spread(
    name: str, label: str, parts: Sequence[NDArray[np.float32]], unit: str, digits: int
) -> Measurement:
    values = np.concatenate(list(parts))
    low, middle, high = (round(float(v), digits) for v in np.percentile(values, [5, 50, 95]))
    return Measurement(name=name, label=label, value=middle, unit=unit, q05=low, q95=high, n=len(values))


def _percent(share: float, note: str | None = None) -> Measurement:
    return Measurement(
        name="tissue_fraction", label="Tissue in field", value=round(100 * share, 1), unit="%", note=note
    )


def _stain_measure(stain: StainMatrix) -> Measurement:
    vectors = "; ".join(
        f"{name} {' '.join(f'{v:.2f}' for v in vector)}"
        for name, vector in (("haematoxylin", stain.haematoxylin), ("eosin", stain.eosin))
    )
    return Measurement(
        name="stain_angle",
        label="Angle between the two dyes",
        value=round(stain.angle_degrees, 1),
        unit="deg",
        note=f"{stain.source}: {vectors} (optical density R G B)",
    )


def _unit(measurement: Measurement) -> str:
    """The unit with lengths spelt in µm where the figure depends on the resolution."""
    return "µm" if measurement.unit in ("mm2", "um2", "/mm2") else measurement.unit


def _with_note(measurement: Measurement) -> Measurement:
    said = f"{measurement.note}; {_ASSUMED}" if measurement.note else _ASSUMED
    return measurement.model_copy(update={"note": said})
