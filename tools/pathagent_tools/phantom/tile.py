"""Training tiles: a mini-world around a point, painted and scanned by the functions that make slides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Findings
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.artifacts import Artifact, ArtifactKind, coverage, draw_artifact, window_points
from pathagent_tools.phantom.camera import jpeg_round_trip, photograph, shrink
from pathagent_tools.phantom.cells import AREA, CLASS, MITOSIS, X, Y
from pathagent_tools.phantom.findings import class_fractions, findings_of
from pathagent_tools.phantom.plan import PLAN_CELL_UM, Plan, mitoses, parameters
from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT, SCANNERS_TRAIN, draw_stain

LEVEL0_MPP: Final = 0.5
_PAD_UM = 112.0
_EPITHELIAL = (k.N_BENIGN, k.N_DYSPLASTIC, k.N_TUMOUR)
_CARCINOMAS = ("adenocarcinoma", "solid carcinoma", "poorly cohesive carcinoma", "mucinous carcinoma")

# (weight, main zone, lesion family or "", grade)
_THEMES: Final[tuple[tuple[float, int, str, int], ...]] = (
    (0.045, k.GLASS, "", 0),
    (0.055, k.ADIPOSE, "", 0),
    (0.070, k.STROMA, "", 0),
    (0.060, k.MUSCLE, "", 0),
    (0.100, k.MUCOSA, "", 0),
    (0.060, k.REACTIVE, "", 0),
    (0.065, k.LYMPHOID, "", 0),
    (0.080, k.ADENOMA, "adenoma", 1),
    (0.080, k.ADENOMA, "adenoma", 2),
    (0.055, k.NECROSIS, "solid carcinoma", 3),
    (0.040, k.MUCINOUS, "mucin", 0),
    *((0.0242, k.LESION_ZONES[f], f, g) for f in _CARCINOMAS for g in (1, 2, 3)),
)
_NEIGHBOURS: Final = (k.STROMA, k.MUCOSA, k.STROMA, k.ADIPOSE, k.MUSCLE, k.LYMPHOID, k.REACTIVE)
_ARTIFACTS: Final[tuple[ArtifactKind, ...]] = ("fold", "blur", "pen", "bubble", "crush")


@dataclass(frozen=True)
class TileSample:
    """One training tile: `image` [px, px, 3] uint8 RGB, its `Findings` and the exact truth behind them.

    Where a margin was asked for, `image` shows that much more on each side; all else is of the field.

    `label_map` [px, px] uint8 by `classes.CLASSES`; `class_fractions` by tissue word; nuclei in the tile:
    `nuclei` all, `epithelial_area_um2` mean and `pleomorphism` (sd/mean of area) of epithelial or tumour
    nuclei (0 where there are none), `mitoses` and `figures_um` [mitoses, 2], their centres (x, y) in µm
    from the tile's corner, and `lymphocytes_um` [k, 2] likewise. `meta`: diagnosis family,
    grade, themes, artifact cover.
    """

    image: NDArray[np.uint8]
    findings: Findings
    class_fractions: dict[str, float]
    label_map: NDArray[np.uint8]
    nuclei: int
    epithelial_area_um2: float
    pleomorphism: float
    mitoses: int
    figures_um: NDArray[np.float64]
    lymphocytes_um: NDArray[np.float64]
    scanner: str
    meta: dict[str, Any]


def sample_tile(
    seed: int,
    *,
    field_um: float = 192.0,
    px: int = 192,
    split: Literal["train", "test"] = "train",
    margin_px: int = 0,
) -> TileSample:
    """Draw the tile of this seed, balanced over findings.

    The tile is rendered at 0.5 µm/px, JPEG-compressed as in a slide file and area-averaged to `px`.
    `split="test"` uses other worlds and every second time a held-out scanner; "train" never does.
    margin_px: so much of the surroundings on each side of the image besides.
    UserError when `field_um / px` is not a multiple of 0.5 µm/px.
    """
    factor = round(field_um / px / LEVEL0_MPP)
    if factor < 1 or abs(factor * LEVEL0_MPP * px - field_um) > 1e-6:
        raise UserError(
            f"field_um {field_um} over px {px} is {field_um / px:g} µm/px: use a multiple of {LEVEL0_MPP}, "
            f"e.g. field_um={px * max(1, factor) * LEVEL0_MPP:g}."
        )
    rng = np.random.default_rng([seed, 11 if split == "train" else 12])
    plan, theme = mini_world(rng, field_um)
    pool = SCANNERS_HELD_OUT if split == "test" and rng.random() < 0.5 else SCANNERS_TRAIN
    scanner = pool[int(rng.integers(len(pool)))]
    stain = draw_stain(rng)
    artifacts = _tile_artifacts(rng, field_um)
    margin = margin_px * factor
    full = px * factor + 2 * margin
    corner = -margin * LEVEL0_MPP
    raw, fine = photograph(
        plan, corner, corner, LEVEL0_MPP, full, full, stain=stain, scanner=scanner, artifacts=artifacts
    )
    image = shrink(jpeg_round_trip(raw, scanner.jpeg_quality), factor)
    fine = fine[margin : full - margin, margin : full - margin]
    labels = np.ascontiguousarray(fine[factor // 2 :: factor, factor // 2 :: factor])
    fractions = class_fractions(fine)
    nuclei = plan.nuclei_inside(0.0, 0.0, field_um, field_um)
    xs, ys = window_points(0.0, 0.0, 2.0, int(field_um / 2), int(field_um / 2))
    cover = coverage(artifacts, xs, ys)
    findings = findings_of(
        fractions, nuclei, field_um * field_um * 1e-6,
        family=plan.family, grade=plan.grade, artifact_cover=cover, stain=stain.word,
    )  # fmt: skip
    areas = nuclei[np.isin(nuclei[:, CLASS], _EPITHELIAL), AREA]
    mean = float(areas.mean()) if areas.size else 0.0
    return TileSample(
        image=image,
        findings=findings,
        class_fractions=fractions,
        label_map=labels,
        nuclei=len(nuclei),
        epithelial_area_um2=mean,
        pleomorphism=float(areas.std() / mean) if areas.size else 0.0,
        mitoses=mitoses(nuclei),
        figures_um=nuclei[nuclei[:, MITOSIS] > 0][:, [X, Y]],
        lymphocytes_um=nuclei[nuclei[:, CLASS] == k.N_LYMPHOCYTE][:, [X, Y]],
        scanner=scanner.name,
        meta={"family": plan.family, "grade": plan.grade, "theme": theme, "artifacts": cover, "seed": seed},
    )


def mini_world(rng: np.random.Generator, field_um: float) -> tuple[Plan, str]:
    """(plan, theme) of a small world whose field (0, 0) … (field_um, field_um) µm shows drawn findings."""
    weights = np.array([t[0] for t in _THEMES])
    _, zone, family, grade = _THEMES[int(rng.choice(len(_THEMES), p=weights / weights.sum()))]
    acellular = family == "mucin"
    if acellular:
        family, grade = "mucinous carcinoma", int(rng.integers(1, 4))
    lesion = family or "no significant abnormality"
    par = parameters(rng, lesion, grade)
    if acellular:
        par[k.P_CLUSTERS] = 0.12
    n = math.ceil((field_um + 2 * _PAD_UM) / PLAN_CELL_UM)
    zones = np.full((n, n), zone, np.uint8)
    other = _other_zone(rng, zone)
    if other is not None:
        zones[_side(rng, n, _PAD_UM / PLAN_CELL_UM, field_um / PLAN_CELL_UM)] = other
    if rng.random() < 0.12 and zone != k.GLASS:
        zones[_side(rng, n, _PAD_UM / PLAN_CELL_UM, field_um / PLAN_CELL_UM)] = k.GLASS
    if zone == k.SOLID and rng.random() < 0.15 * grade:
        zones[_side(rng, n, _PAD_UM / PLAN_CELL_UM, field_um / PLAN_CELL_UM)] = k.NECROSIS
    density = _lymphocytes(rng, reactive=zone == k.REACTIVE)
    plan = Plan(
        zones=zones,
        inflammation=np.full((n, n), density, np.float32),
        ox=-_PAD_UM,
        oy=-_PAD_UM,
        par=par,
        key=int(rng.integers(1 << 40)),
        family=lesion,
        grade=grade,
    )
    return plan, f"{zone}:{family}:{grade}"


def _other_zone(rng: np.random.Generator, zone: int) -> int | None:
    """A neighbouring zone for two tiles in five, the lesion's own surroundings where it has one."""
    if zone == k.NECROSIS:
        return (k.SOLID, k.SOLID, k.STROMA, None)[int(rng.integers(4))]
    if rng.random() > 0.4:
        return None
    other = _NEIGHBOURS[int(rng.integers(len(_NEIGHBOURS)))]
    return None if other == zone else other


def _side(rng: np.random.Generator, n: int, pad: float, field: float) -> NDArray[np.bool_]:
    """A half-plane mask [n, n] whose border crosses the field."""
    angle = rng.uniform(0, 2 * math.pi)
    c = pad + field / 2
    i, j = np.mgrid[0:n, 0:n] + 0.5
    shift = rng.uniform(-0.1, 0.5) * field
    bend = rng.normal(0, 0.006)
    u = (j - c) * math.cos(angle) + (i - c) * math.sin(angle)
    v = -(j - c) * math.sin(angle) + (i - c) * math.cos(angle)
    return np.asarray(u + bend * v * v > shift)


def _lymphocytes(rng: np.random.Generator, *, reactive: bool) -> float:
    """Lymphocytes per mm² of open stroma."""
    u = rng.random()
    if reactive:
        u = 0.35 + 0.65 * u
    if u < 0.55:
        return float(rng.uniform(80, 380))
    if u < 0.8:
        return float(rng.uniform(1700, 3400))
    return float(rng.uniform(6500, 12000))


def _tile_artifacts(rng: np.random.Generator, field_um: float) -> list[Artifact]:
    """One artifact near the tile in three tiles of ten, of natural size."""
    if rng.random() > 0.32:
        return []
    kind = _ARTIFACTS[int(rng.integers(len(_ARTIFACTS)))]
    x, y = (float(v) for v in field_um * (0.5 + 0.45 * rng.uniform(-1, 1, 2)))
    return [draw_artifact(rng, kind, x, y, 1200.0)]


assert all(f in DIAGNOSES for f in k.LESION_ZONES), "lesion families must be diagnoses"
