"""A phantom: one slide's world, painted on demand, with its truth at every point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Findings
from pathagent_tools.core.vocabulary import DIAGNOSES, Tissue, tissues_of
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.artifacts import Artifact, coverage, draw_artifact, window_points
from pathagent_tools.phantom.camera import Image, photograph, shrink
from pathagent_tools.phantom.cells import AREA, CLASS, MITOSIS, X, Y
from pathagent_tools.phantom.findings import class_fractions, findings_of
from pathagent_tools.phantom.layout import Layout, crowd, draw_layout, pick
from pathagent_tools.phantom.lesion import Diseased, add_lesion
from pathagent_tools.phantom.plan import PLAN_CELL_UM, Plan, parameters
from pathagent_tools.phantom.stain import (
    SCANNERS,
    Scanner,
    StainBatch,
    StainWord,
    draw_stain,
    scanner_named,
)

Size = Literal["small", "standard", "large"]
RegionUm = tuple[float, float, float, float]
SIZE_PX: Final[dict[str, int]] = {"small": 3072, "standard": 8192, "large": 20480}
"""Side of a slide in level-0 px at `LEVEL0_MPP`."""
LEVEL0_MPP: Final = 0.5
_PIECES: Final = {"small": (2, 4), "standard": (2, 6), "large": (3, 8)}
_BLOCK_PX = 512

ARTIFACT_CHANCES: Final = (("crush", 1.0), ("fold", 0.4), ("blur", 0.4), ("pen", 0.35), ("bubble", 0.35))
"""Kind of artifact → share of slides that have one, in the order of drawing."""

# Independent random streams: one argument changes, the others keep their numbers.
_HASH, _LAYOUT, _CASE, _LESION, _STAIN, _SCANNER, _ARTIFACT, _CROWD = range(8)


class Nucleus(NamedTuple):
    """One nucleus of the truth: centre (µm), area (µm²), class, grade word of epithelial nuclei, mitosis."""

    x_um: float
    y_um: float
    area_um2: float
    cls: str
    grade: str
    mitosis: bool


@dataclass(frozen=True)
class TileTruthMaps:
    """Truth of a window: `labels` [h, w] uint8 by `classes.CLASSES`, nuclei inside, `lesion` mask [h, w]."""

    labels: NDArray[np.uint8]
    nuclei: tuple[Nucleus, ...]
    lesion: NDArray[np.bool_]


@dataclass(frozen=True)
class Phantom:
    """One slide: origin (0, 0) µm at the upper left, `side_um` wide and high, `size_px` at 0.5 µm/px.

    `plan` holds the lesion, `bare` the same tissue without it; `layout` and `diseased` are the coarse plan.
    """

    seed: int
    size: Size
    diagnosis: str
    grade: str
    stain: StainBatch
    scanner: Scanner
    artifacts: tuple[Artifact, ...]
    layout: Layout
    diseased: Diseased
    plan: Plan
    bare: Plan

    @property
    def size_px(self) -> int:
        """Side in level-0 pixels."""
        return SIZE_PX[self.size]

    @property
    def side_um(self) -> float:
        """Side in µm."""
        return SIZE_PX[self.size] * LEVEL0_MPP

    def render(
        self,
        region_um: RegionUm,
        mpp: float,
        *,
        stain: StainBatch | StainWord | None = None,
        scanner: str | None = None,
        artifacts: bool | None = None,
        lesion: bool | None = None,
    ) -> Image:
        """Pixels [h, w, 3] uint8 of a window (x, y, width, height) µm at `mpp`, before JPEG.

        Another stain, scanner, no artifacts or no lesion changes only that: the pairs are exact. Above
        0.5 µm/px the window is painted finer and area-averaged. UserError for an empty window or mpp ≤ 0.
        """
        x, y, width, height = _window(region_um, mpp)
        factor = max(1, round(mpp / LEVEL0_MPP)) if mpp <= 2.0 else math.ceil(mpp / 2.0)
        base = mpp / factor
        plan = self.bare if lesion is False else self.plan
        marks: Sequence[Artifact] = () if artifacts is False else self.artifacts
        device = self.scanner if scanner is None else scanner_named(scanner)
        batch = self._stain(stain)
        out = np.empty((height, width, 3), np.uint8)
        for i, j, h, w in _blocks(height, width, max(1, _BLOCK_PX // factor)):
            fine, _ = photograph(
                plan, x + j * mpp, y + i * mpp, base, w * factor, h * factor,
                stain=batch, scanner=device, artifacts=marks,
            )  # fmt: skip
            out[i : i + h, j : j + w] = shrink(fine, factor)
        return out

    def label(self, region_um: RegionUm, mpp: float, *, lesion: bool = True) -> TileTruthMaps:
        """Truth maps of the window (x, y, width, height) µm at `mpp`. UserError as in `render`."""
        x, y, width, height = _window(region_um, mpp)
        plan = self.plan if lesion else self.bare
        labels = plan.labels(x, y, mpp, width, height)
        mask = np.zeros((height, width), np.uint8)
        if lesion:
            mask = plan.mask(self.diseased.mask.astype(np.uint8), x, y, mpp, width, height)
        table = plan.nuclei_inside(x, y, width * mpp, height * mpp)
        nuclei = tuple(
            Nucleus(
                float(row[X]), float(row[Y]), float(row[AREA]), k.NUCLEUS_CLASSES[int(row[CLASS])],
                self._nucleus_grade(int(row[CLASS])), bool(row[MITOSIS] > 0),
            )
            for row in table
        )  # fmt: skip
        return TileTruthMaps(labels, nuclei, mask.astype(bool) & (labels != k.C_BACKGROUND))

    def findings(self, region_um: RegionUm) -> Findings:
        """The true `Findings` of a look at the window; the limits are made for 192 µm a side."""
        x, y, width, height = region_um
        w, h = _window(region_um, LEVEL0_MPP)[2:]
        xs, ys = window_points(x, y, 2.0, max(1, int(width / 2)), max(1, int(height / 2)))
        touching = [a for a in self.artifacts if a.touches(x, y, width, height)]
        return findings_of(
            class_fractions(self.plan.labels(x, y, LEVEL0_MPP, w, h)),
            self.plan.nuclei_inside(x, y, width, height),
            width * height * 1e-6,
            family=self.diagnosis,
            grade=self.plan.grade,
            artifact_cover=coverage(touching, xs, ys),
            stain=self.stain.word,
        )

    def tissues(self, region_um: RegionUm) -> tuple[Tissue, ...]:
        """All that a look at the window truly shows, what it mainly shows first."""
        x, y = region_um[:2]
        w, h = _window(region_um, LEVEL0_MPP)[2:]
        return tissues_of(class_fractions(self.plan.labels(x, y, LEVEL0_MPP, w, h)))

    def _stain(self, stain: StainBatch | StainWord | None) -> StainBatch:
        if stain is None:
            return self.stain
        if isinstance(stain, StainBatch):
            return stain
        return draw_stain(_rng(self.seed, _STAIN), _stain_word(stain))

    def _nucleus_grade(self, cls: int) -> str:
        if cls == k.N_BENIGN:
            return "low"
        if cls == k.N_DYSPLASTIC:
            return "intermediate" if self.plan.grade == 1 else "high"
        return k.GRADE_WORDS[self.plan.grade - 1] if cls == k.N_TUMOUR else "none"


def make_phantom(
    seed: int,
    size: Size = "small",
    *,
    diagnosis: str | None = None,
    grade: str | None = None,
    lesion_mm: float | None = None,
    lesion_share: float | None = None,
    scanner: str | None = None,
    stain: StainWord | None = None,
    artifacts: bool = True,
    look_alikes: int = 0,
) -> Phantom:
    """Plan the slide of a seed; what is not given is drawn (families and grades uniformly).

    `diagnosis` and `grade` as in `core.vocabulary.DIAGNOSES`, `lesion_mm` the equivalent diameter or else
    `lesion_share` the lesion's share (0..1) of the tissue, `scanner` a name of `stain.SCANNERS`.
    `look_alikes`: so many more patches of reactive glands, of mild inflammation and of crush than a slide
    has anyway; the rest stays. UserError names the allowed values.
    """
    if size not in SIZE_PX:
        raise UserError(f"Unknown phantom size {size!r}. Use one of: {', '.join(SIZE_PX)}.")
    side = SIZE_PX[size] * LEVEL0_MPP
    family, level = _case(_rng(seed, _CASE), diagnosis, grade)
    number = 0 if level == "none" else DIAGNOSES[family].index(level) + 1
    layout_rng = _rng(seed, _LAYOUT)
    layout = draw_layout(layout_rng, side, int(layout_rng.integers(*_PIECES[size])))
    crowd_rng = _rng(seed, _CROWD)
    if look_alikes:
        layout = crowd(crowd_rng, layout, look_alikes)
    lesion_rng = _rng(seed, _LESION)
    if lesion_share is not None:
        lesion_mm = _diameter_mm(layout, lesion_share)
    diseased = add_lesion(lesion_rng, layout, family, number, lesion_mm)
    par = parameters(layout_rng, "no significant abnormality", 0)
    bare_key = int(_rng(seed, _HASH).integers(1 << 40))
    bare = Plan(
        zones=layout.zones, inflammation=layout.inflammation, ox=0.0, oy=0.0, par=par, key=bare_key,
        family="no significant abnormality", grade=0,
    )  # fmt: skip
    plan = Plan(
        zones=diseased.zones, inflammation=diseased.inflammation, ox=0.0, oy=0.0,
        par=_with_lesion(par, lesion_rng, family, number), key=bare_key, family=family, grade=number,
    )  # fmt: skip
    names = list(SCANNERS)
    device = scanner_named(scanner or names[int(_rng(seed, _SCANNER).integers(len(names)))])
    word = _stain_word(stain) if stain is not None else None
    marks = _draw_artifacts(_rng(seed, _ARTIFACT), layout, diseased, side) if artifacts else ()
    if artifacts and look_alikes:
        marks += _draw_artifacts(crowd_rng, layout, diseased, side, (("crush", 1.0),) * look_alikes)
    batch = draw_stain(_rng(seed, _STAIN), word)
    return Phantom(seed, size, family, level, batch, device, marks, layout, diseased, plan, bare)


def _diameter_mm(layout: Layout, share: float) -> float:
    """Diameter of a circle of that share of the tissue's area."""
    if not 0 < share < 1:
        raise UserError(f"lesion_share {share:g} is no share of the tissue: give 0 to 1, e.g. 0.005.")
    tissue_mm2 = float((layout.zones != k.GLASS).sum()) * PLAN_CELL_UM**2 * 1e-6
    return 2.0 * math.sqrt(share * tissue_mm2 / math.pi)


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, 101 + stream])


def _stain_word(word: str) -> StainWord:
    allowed: tuple[StainWord, ...] = ("pale", "balanced", "dark")
    for known in allowed:
        if word == known:
            return known
    raise UserError(f"Unknown stain {word!r}. Use one of: {', '.join(allowed)}.")


def _case(rng: np.random.Generator, diagnosis: str | None, grade: str | None) -> tuple[str, str]:
    families = list(DIAGNOSES)
    drawn = families[int(rng.integers(len(families)))]
    family = diagnosis or drawn
    if family not in DIAGNOSES:
        raise UserError(f"Unknown diagnosis {family!r}. Use one of: {'; '.join(families)}.")
    levels = DIAGNOSES[family]
    level = grade or levels[int(rng.integers(len(levels)))]
    if level not in levels:
        raise UserError(f"{family} has no grade {level!r}. Use one of: {'; '.join(levels)}.")
    return family, level


def _with_lesion(
    par: NDArray[np.float64], rng: np.random.Generator, family: str, grade: int
) -> NDArray[np.float64]:
    """The world's numbers with the lesion's own; what the bare tissue uses stays."""
    own = parameters(rng, family, grade)
    out = par.copy()
    for entry in (
        k.P_GRADE, k.P_GLAND_UM, k.P_NEST_UM, k.P_MITOSIS_RATE, k.P_CLUSTERS, k.P_LESION_ON,
    ):  # fmt: skip
        out[entry] = own[entry]
    return out


def _draw_artifacts(
    rng: np.random.Generator,
    layout: Layout,
    diseased: Diseased,
    side: float,
    kinds: Sequence[tuple[str, float]] = ARTIFACT_CHANCES,
) -> tuple[Artifact, ...]:
    """One crushed spot on every slide, other artifacts on a third; small lesions stay visible."""
    from scipy.ndimage import distance_transform_edt

    tissue = layout.zones != k.GLASS
    far = distance_transform_edt(~diseased.mask) * PLAN_CELL_UM if diseased.mask.any() else None
    out = []
    for kind, chance in kinds:
        if rng.random() > chance:
            continue
        room = tissue
        if far is not None and diseased.lesion_mm < 1.5:
            clear = tissue & (far > (250.0 if kind in ("crush", "blur", "bubble") else 420.0))
            room = clear if clear.any() else np.zeros_like(tissue)
        place = pick(rng, room)
        if place is not None:
            out.append(draw_artifact(rng, kind, *place, side / 3.0))  # type: ignore[arg-type]
    return tuple(out)


def _window(region_um: RegionUm, mpp: float) -> tuple[float, float, int, int]:
    """(x, y, width px, height px) of a window."""
    x, y, width, height = region_um
    if not mpp > 0:
        raise UserError(f"mpp {mpp} is not a resolution: give µm per pixel above 0, e.g. 0.5.")
    w, h = round(width / mpp), round(height / mpp)
    if w < 1 or h < 1:
        raise UserError(
            f"The window {width:g} x {height:g} µm has no pixel at {mpp:g} µm/px: give a larger one."
        )
    return x, y, w, h


def _blocks(height: int, width: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """(row, column, height, width) of blocks of at most `size` px."""
    for i in range(0, height, size):
        for j in range(0, width, size):
            yield i, j, min(size, height - i), min(size, width - j)
