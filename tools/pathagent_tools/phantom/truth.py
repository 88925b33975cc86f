"""`truth.json`: everything that is right about a phantom slide, as one schema."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.vocabulary import Amount, Architecture, Degree, Grade, Presence, inflammation_of
from pathagent_tools.phantom import PHANTOM_VERSION
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.artifacts import Artifact
from pathagent_tools.phantom.cells import CLASS, MITOSIS, X, Y
from pathagent_tools.phantom.findings import (
    ARCHITECTURES,
    FIELD_UM,
    MANY_MITOSES,
    merged_classes,
)
from pathagent_tools.phantom.plan import PLAN_CELL_UM
from pathagent_tools.phantom.world import LEVEL0_MPP, Phantom

Polygon = tuple[tuple[float, float], ...]
MAP_UM = 16.0
_SCAN_UM = 512.0


class Facts(Frozen):
    """What a right report says, slot by slot."""

    diagnosis: str
    grade: str
    lesion: Literal["absent", "present"]
    architecture: Architecture
    nuclear_grade: Grade
    mitoses: Amount = Field(description="in the densest 192 µm field of the slide")
    necrosis: Presence
    inflammation: Degree = Field(description="in the lesion; over all tissue where there is none")


class MarkedArea(Frozen):
    """A named outline in level-0 px."""

    kind: str
    polygon: Polygon


class TissueMap(Frozen):
    """Class map at `um_per_cell`, rows top to bottom, run-length coded as [class, count, class, count …]."""

    um_per_cell: float
    width: int
    height: int
    classes: dict[int, str]
    runs: tuple[int, ...]

    def array(self) -> NDArray[np.uint8]:
        """[height, width] uint8."""
        pairs = np.array(self.runs, np.int64).reshape(-1, 2)
        return np.repeat(pairs[:, 0].astype(np.uint8), pairs[:, 1]).reshape(self.height, self.width)


class PhantomTruth(Frozen):
    """The truth of one slide. All places are level-0 px, all areas mm²."""

    phantom_version: int = PHANTOM_VERSION
    seed: int
    size: str
    width: int
    height: int
    mpp: float
    scanner: str
    stain: str
    stain_strength: float
    diagnosis: str
    grade: str
    facts: Facts
    pieces: int
    tissue_mm2: float
    lesion_mm2: float
    lesion_fraction: float = Field(description="lesion area over tissue area")
    lesion_polygons: tuple[Polygon, ...]
    piece_polygons: tuple[Polygon, ...]
    look_alikes: tuple[MarkedArea, ...]
    artifacts: tuple[MarkedArea, ...]
    class_mm2: dict[str, float] = Field(description="area by tissue word")
    nuclei: dict[str, int] = Field(description="count by nucleus class")
    mitoses: int
    tissue_map: TissueMap
    reports: tuple[dict[str, Any], ...] = Field(default=(), description="one reference report a wording")
    questions: tuple[dict[str, Any], ...] = ()


def truth_of(phantom: Phantom) -> PhantomTruth:
    """Measure a phantom's truth: one pass over its nuclei and a class map at 16 µm and 4 µm."""
    counts, figures, in_lesion = _count_nuclei(phantom)
    areas = _areas(phantom)
    tissue = sum(a for word, a in areas.items() if word != "background")
    lesion_polygons = _outlines(phantom.diseased.mask)
    lesion_mm2 = float(phantom.diseased.mask.sum()) * PLAN_CELL_UM**2 * 1e-6
    density = in_lesion / lesion_mm2 if lesion_mm2 else counts["lymphocyte"] / tissue
    return PhantomTruth(
        seed=phantom.seed,
        size=phantom.size,
        width=phantom.size_px,
        height=phantom.size_px,
        mpp=LEVEL0_MPP,
        scanner=phantom.scanner.name,
        stain=phantom.stain.word,
        stain_strength=round(phantom.stain.strength, 4),
        diagnosis=phantom.diagnosis,
        grade=phantom.grade,
        facts=_facts(phantom, areas, figures, density),
        pieces=len(phantom.layout.pieces),
        tissue_mm2=round(tissue, 4),
        lesion_mm2=round(lesion_mm2, 4),
        lesion_fraction=round(lesion_mm2 / tissue, 6),
        lesion_polygons=lesion_polygons,
        piece_polygons=tuple(p for mask in phantom.layout.pieces for p in _outlines(mask)[:1]),
        look_alikes=tuple(
            MarkedArea(kind=p.kind, polygon=_circle(p.x, p.y, p.radius)) for p in phantom.layout.look_alikes
        ),
        artifacts=tuple(MarkedArea(kind=a.kind, polygon=_artifact_outline(a)) for a in phantom.artifacts),
        class_mm2={word: round(a, 4) for word, a in areas.items()},
        nuclei=counts,
        mitoses=len(figures),
        tissue_map=_tissue_map(phantom),
    )


def _facts(phantom: Phantom, areas: dict[str, float], figures: NDArray[np.float64], density: float) -> Facts:
    family, grade = phantom.diagnosis, phantom.plan.grade
    architecture: Architecture = ARCHITECTURES.get(family, "regular glands")
    if phantom.grade == "mild":
        architecture = "regular glands"
    if family == "adenoma":
        nuclear: Grade = "intermediate" if grade == 1 else "high"
    elif family in k.LESION_ZONES:
        nuclear = k.GRADE_WORDS[grade - 1]
    else:
        nuclear = "low"
    hot = hottest_field(figures)
    degree = inflammation_of(density)
    if family == "chronic inflammation":
        degree = "mild" if grade == 1 else "marked"
    return Facts(
        diagnosis=family,
        grade=phantom.grade,
        lesion="absent" if family == "no significant abnormality" else "present",
        architecture=architecture,
        nuclear_grade=nuclear,
        mitoses="none" if hot == 0 else "many" if hot >= MANY_MITOSES else "few",
        necrosis="present" if areas["necrosis"] >= 0.003 else "absent",
        inflammation=degree,
    )


def hottest_field(figures: NDArray[np.float64]) -> int:
    """Most mitotic figures [n, 2] (µm) in one 192 µm square."""
    best = 0
    for x in figures[:, 0]:
        column = figures[(figures[:, 0] >= x) & (figures[:, 0] < x + FIELD_UM)]
        for y in column[:, 1]:
            best = max(best, int(((column[:, 1] >= y) & (column[:, 1] < y + FIELD_UM)).sum()))
    return best


def _count_nuclei(phantom: Phantom) -> tuple[dict[str, int], NDArray[np.float64], int]:
    """(count by class, mitotic figures [n, 2] µm, lymphocytes inside the lesion), window by window."""
    counts = np.zeros(len(k.NUCLEUS_CLASSES) + 1, np.int64)
    figures, inflamed = [], 0
    mask, zones = phantom.diseased.mask, phantom.plan.zones
    steps = math.ceil(phantom.side_um / _SCAN_UM)
    cells = int(_SCAN_UM / PLAN_CELL_UM)
    for i in range(steps):
        for j in range(steps):
            around = zones[
                max(0, i * cells - 6) : (i + 1) * cells + 6, max(0, j * cells - 6) : (j + 1) * cells + 6
            ]
            if not around.any():
                continue
            table = phantom.plan.nuclei_inside(j * _SCAN_UM, i * _SCAN_UM, _SCAN_UM, _SCAN_UM)
            counts += np.bincount(table[:, CLASS].astype(int), minlength=counts.size)
            figures.append(table[table[:, MITOSIS] > 0][:, [X, Y]])
            lymphocytes = table[table[:, CLASS] == k.N_LYMPHOCYTE]
            rows = np.clip((lymphocytes[:, Y] / PLAN_CELL_UM).astype(int), 0, mask.shape[0] - 1)
            columns = np.clip((lymphocytes[:, X] / PLAN_CELL_UM).astype(int), 0, mask.shape[1] - 1)
            inflamed += int(mask[rows, columns].sum())
    named = {k.NUCLEUS_CLASSES[i]: int(counts[i]) for i in range(1, k.N_DEBRIS)}
    return named, np.concatenate([np.zeros((0, 2)), *figures]), inflamed


def _areas(phantom: Phantom) -> dict[str, float]:
    """Area (mm²) by tissue word, from class points 4 µm apart."""
    step = 4.0
    n = int(phantom.side_um / step)
    counts = np.zeros(len(k.CLASSES))
    for top in range(0, n, 128):
        height = min(128, n - top)
        counts += np.bincount(
            phantom.plan.labels(0.0, top * step, step, n, height).ravel(), minlength=len(k.CLASSES)
        )
    return {word: float(c) * step * step * 1e-6 for word, c in merged_classes(counts).items()}


def _tissue_map(phantom: Phantom) -> TissueMap:
    n = int(phantom.side_um / MAP_UM)
    labels = phantom.plan.labels(0.0, 0.0, MAP_UM, n, n).ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1])
    lengths = np.diff(np.concatenate([starts, [labels.size]]))
    runs = np.stack([labels[starts].astype(np.int64), lengths], axis=1).ravel()
    return TissueMap(
        um_per_cell=MAP_UM, width=n, height=n, classes=k.CLASSES, runs=tuple(int(r) for r in runs)
    )


def _outlines(mask: NDArray[np.bool_]) -> tuple[Polygon, ...]:
    """Outlines of a plan mask in level-0 px, largest first."""
    from skimage.measure import approximate_polygon, find_contours

    scale = PLAN_CELL_UM / LEVEL0_MPP
    rings = find_contours(np.pad(mask, 1).astype(float), 0.5)
    rings.sort(key=len, reverse=True)
    out = []
    for ring in rings:
        points = (approximate_polygon(ring, 0.5)[:, ::-1] - 0.5) * scale
        if len(points) >= 4:
            out.append(tuple((round(float(x), 1), round(float(y), 1)) for x, y in points))
    return tuple(out)


def _circle(x: float, y: float, radius: float) -> Polygon:
    angles = np.linspace(0, 2 * math.pi, 25)
    return tuple(
        (
            round(float((x + radius * math.cos(a)) / LEVEL0_MPP), 1),
            round(float((y + radius * math.sin(a)) / LEVEL0_MPP), 1),
        )
        for a in angles
    )


def _artifact_outline(a: Artifact) -> Polygon:
    """Outline of an artifact in level-0 px, its ripples smoothed away."""
    c, s = math.cos(a.angle), math.sin(a.angle)
    if a.kind in ("fold", "pen"):
        us = np.linspace(-a.rx, a.rx, 15)
        upper = [(u, a.bend * u * u + a.ry) for u in us]
        lower = [(u, a.bend * u * u - a.ry) for u in us[::-1]]
        local = [*upper, *lower, upper[0]]
    else:
        angles = np.linspace(0, 2 * math.pi, 25)
        local = [(a.rx * math.cos(t), a.ry * math.sin(t)) for t in angles]
    return tuple(
        (
            round(float((a.x + c * u - s * v) / LEVEL0_MPP), 1),
            round(float((a.y + s * u + c * v) / LEVEL0_MPP), 1),
        )
        for u, v in local
    )
