"""Training fields of the generator: one clean field, its layout, and an exact partner of the same place.

The partner differs from the field in one thing: another stain and scanner, an artifact on it, or another
lesion. Fields come in groups of `GROUP` that share scanner and staining run, as tiles of one slide do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.records import Findings
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.artifacts import Artifact, coverage, draw_artifact, window_points
from pathagent_tools.phantom.camera import jpeg_round_trip, photograph, shrink
from pathagent_tools.phantom.cells import ANGLE, AREA, ASPECT, CLASS, MITOSIS, Table, X, Y
from pathagent_tools.phantom.findings import class_fractions, findings_of
from pathagent_tools.phantom.lookup import fibre_angle
from pathagent_tools.phantom.plan import Plan, mitoses, parameters
from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT, SCANNERS_TRAIN, Scanner, StainBatch, draw_stain
from pathagent_tools.phantom.tile import LEVEL0_MPP, mini_world
from pathagent_tools.phantom.warp import window_nodes

Partner = Literal["stain", "artifact", "lesion"]
Split = Literal["train", "test"]
PARTNERS: Final[tuple[Partner, ...]] = ("stain", "artifact", "lesion")
GROUP: Final = 8
FIBRE_STEP: Final = 4
"""Fibre directions are given for every 4th pixel."""
_MITOSIS_RADIUS_UM = 5.0
_EPITHELIAL = (k.N_BENIGN, k.N_DYSPLASTIC, k.N_TUMOUR)
_CHANGEABLE: Final = (
    k.MUCOSA, k.REACTIVE, k.ADENOMA, k.ADENOCARCINOMA, k.SOLID, k.POORLY_COHESIVE, k.MUCINOUS
)  # fmt: skip
_REPAIRABLE: Final = ("fold", "blur", "pen", "bubble")


@dataclass(frozen=True)
class FieldSample:
    """One field of `px` pixels a side.

    image, partner [px, px, 3] uint8 RGB; changed [px, px] bool: where the two differ (nowhere for a
    stain). labels [px, px] uint8 by `classes.CLASSES`; nuclei, membranes [px, px] bool; fibre
    [px/4, px/4] float32, direction of the fibres in radians, 0..π. Numbers of the nuclei inside:
    density per mm², mean epithelial area µm² and its sd/mean (0 where there are none), mitoses.
    """

    image: NDArray[np.uint8]
    partner: NDArray[np.uint8]
    partner_kind: Partner
    changed: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    nuclei: NDArray[np.bool_]
    membranes: NDArray[np.bool_]
    fibre: NDArray[np.float32]
    findings: Findings
    partner_findings: Findings
    density: float
    area_um2: float
    pleomorphism: float
    mitoses: int
    mpp: float
    scanner: str


def sample_field(
    seed: int, *, px: int, mpp: float, split: Split = "train", partner: Partner | None = None
) -> FieldSample:
    """The field of this seed, `px` pixels a side at `mpp` (0.5, 1 or 2 µm/px).

    `split="test"` uses other worlds, and held-out scanners in every second group. partner: which partner
    to paint; drawn where None. A field without glands or tumour has no other lesion: it gets an artifact.
    """
    stream = 21 if split == "train" else 22
    rng = np.random.default_rng([seed, stream])
    scanner, stain = _slide_of(seed // GROUP, stream, split)
    side = px * mpp
    plan, _ = mini_world(rng, side)
    kind = partner or PARTNERS[int(rng.choice(3, p=(0.2, 0.4, 0.4)))]
    other = _other_lesion(plan, rng) if kind == "lesion" else None
    if kind == "lesion" and other is None:
        kind = "artifact"
    image, labels = _picture(plan, px, mpp, stain, scanner, ())
    partner_plan, other_stain, other_scanner = plan, stain, scanner
    marks: tuple[Artifact, ...] = ()
    if kind == "stain":
        other_scanner, other_stain = _slide_of(int(rng.integers(1 << 30)), stream, split)
    elif kind == "artifact":
        marks = (_touching_artifact(rng, side),)
    elif other is not None:
        partner_plan = other
    second, partner_labels = _picture(partner_plan, px, mpp, other_stain, other_scanner, marks)
    table = plan.nuclei(0.0, 0.0, side, side)
    inside = plan.nuclei_inside(0.0, 0.0, side, side)
    areas = inside[np.isin(inside[:, CLASS], _EPITHELIAL), AREA]
    mean = float(areas.mean()) if areas.size else 0.0
    density = np.asarray(image, np.float32).mean(-1)
    return FieldSample(
        image=image,
        partner=second,
        partner_kind=kind,
        changed=_changed(image, second) if kind != "stain" else np.zeros((px, px), bool),
        labels=labels,
        nuclei=nuclear_mask(table, px, mpp),
        membranes=(labels == k.C_ADIPOSE) & (density < 0.9 * np.percentile(density, 99)),
        fibre=_fibres(plan, px, mpp),
        findings=_findings(plan, labels, inside, side, stain),
        partner_findings=_findings(
            partner_plan, partner_labels, partner_plan.nuclei_inside(0.0, 0.0, side, side), side, other_stain
        ),
        density=len(inside) / (side * side * 1e-6),
        area_um2=mean,
        pleomorphism=float(areas.std() / mean) if areas.size else 0.0,
        mitoses=mitoses(inside),
        mpp=mpp,
        scanner=scanner.name,
    )


def nuclear_mask(table: Table, px: int, mpp: float) -> NDArray[np.bool_]:
    """Pixels [px, px] covered by the true nuclei of a table, as ellipses; mitoses as discs."""
    mask = np.zeros((px, px), bool)
    for row in table[(table[:, CLASS] > 0) & (table[:, CLASS] < k.N_DEBRIS)]:
        short = float(np.sqrt(row[AREA] / (np.pi * row[ASPECT])))
        long = short * float(row[ASPECT])
        if row[MITOSIS] > 0:
            short = long = _MITOSIS_RADIUS_UM
        x, y, reach = row[X] / mpp, row[Y] / mpp, long / mpp + 1
        j0, j1 = max(0, int(x - reach)), min(px, int(x + reach) + 2)
        i0, i1 = max(0, int(y - reach)), min(px, int(y + reach) + 2)
        if j0 >= j1 or i0 >= i1:
            continue
        dy, dx = np.mgrid[i0:i1, j0:j1] + 0.5
        dx, dy = (dx - x) * mpp, (dy - y) * mpp
        c, s = np.cos(row[ANGLE]), np.sin(row[ANGLE])
        mask[i0:i1, j0:j1] |= ((c * dx + s * dy) / long) ** 2 + ((c * dy - s * dx) / short) ** 2 <= 1
    return mask


def _slide_of(number: int, stream: int, split: Split) -> tuple[Scanner, StainBatch]:
    rng = np.random.default_rng([number, stream, 7])
    pool = SCANNERS_HELD_OUT if split == "test" and number % 2 else SCANNERS_TRAIN
    return pool[int(rng.integers(len(pool)))], draw_stain(rng)


def _picture(
    plan: Plan, px: int, mpp: float, stain: StainBatch, scanner: Scanner, marks: tuple[Artifact, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(RGB, labels) at `mpp`, compressed at level 0 as in a slide file."""
    factor = round(mpp / LEVEL0_MPP)
    full = px * factor
    raw, fine = photograph(
        plan, 0.0, 0.0, LEVEL0_MPP, full, full, stain=stain, scanner=scanner, artifacts=marks
    )
    image = shrink(jpeg_round_trip(raw, scanner.jpeg_quality), factor)
    return image, np.ascontiguousarray(fine[factor // 2 :: factor, factor // 2 :: factor])


def _findings(
    plan: Plan, labels: NDArray[np.uint8], inside: Table, side: float, stain: StainBatch
) -> Findings:
    return findings_of(
        class_fractions(labels), inside, side * side * 1e-6,
        family=plan.family, grade=plan.grade, artifact_cover={}, stain=stain.word,
    )  # fmt: skip


def _other_lesion(plan: Plan, rng: np.random.Generator) -> Plan | None:
    """The same place with another lesion, or none; None where the world has no gland or tumour zone."""
    present = [z for z in _CHANGEABLE if (plan.zones == z).any()]
    if not present:
        return None
    old = max(present, key=lambda z: int((plan.zones == z).sum()))
    choices = [z for z in _CHANGEABLE if z != old]
    new = choices[int(rng.integers(len(choices)))]
    family = next((f for f, z in k.LESION_ZONES.items() if z == new), "no significant abnormality")
    grade = 0 if new in (k.MUCOSA, k.REACTIVE) else int(rng.integers(1, 3 if new == k.ADENOMA else 4))
    own, par = parameters(rng, family, grade), plan.par.copy()
    for entry in (k.P_GRADE, k.P_GLAND_UM, k.P_NEST_UM, k.P_MITOSIS_RATE, k.P_CLUSTERS, k.P_LESION_ON):
        par[entry] = own[entry]
    zones = plan.zones.copy()
    zones[np.isin(zones, _CHANGEABLE)] = new
    return replace(plan, zones=zones, par=par, family=family, grade=grade)


def _touching_artifact(rng: np.random.Generator, side: float) -> Artifact:
    """An artifact that covers a part of the field, the middle one of what is drawn where none does."""
    best: tuple[float, Artifact] | None = None
    for _ in range(12):
        kind = _REPAIRABLE[int(rng.integers(len(_REPAIRABLE)))]
        x, y = (float(v) for v in side * 0.5 + rng.uniform(-1.2, 1.2, 2) * (0.5 * side + 60))
        mark = draw_artifact(rng, kind, x, y, 400.0)  # type: ignore[arg-type]
        xs, ys = window_points(0.0, 0.0, side / 32, 32, 32)
        cover = coverage([mark], xs, ys)[kind]
        miss = abs(cover - 0.35)
        if best is None or miss < best[0]:
            best = miss, mark
        if 0.06 < cover < 0.6:
            return mark
    assert best is not None
    return best[1]


def _changed(image: NDArray[np.uint8], partner: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where two pictures of one place differ, closed and a little wider."""
    from scipy.ndimage import binary_closing, binary_dilation

    different = np.abs(image.astype(np.int16) - partner).max(-1) > 14
    padded = np.pad(different, 8)
    closed = binary_closing(padded, iterations=4)[8:-8, 8:-8]
    return np.asarray(binary_dilation(closed, iterations=2))


def _fibres(plan: Plan, px: int, mpp: float) -> NDArray[np.float32]:
    n = px // FIBRE_STEP
    nodes, ix0, iy0 = window_nodes(0.0, 0.0, px * mpp, px * mpp, plan.key)
    points = (np.arange(n) + 0.5) * FIBRE_STEP * mpp
    angles = [[fibre_angle(x, y, plan.par, nodes, ix0, iy0) for x in points] for y in points]
    return np.asarray(np.mod(angles, np.pi), np.float32)
