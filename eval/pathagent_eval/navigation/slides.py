"""The slides of the measurement: phantoms with one small neoplasm among many look-alikes.

The slide and its truth lie in different folders, and whoever looks gets a copy of the slide alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.phantom import PHANTOM_VERSION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pathagent_tools.phantom.world import Phantom

FIRST_SEED: Final = 77_000_000
"""Slides of the navigation table start here; no recipe draws seeds from this range."""
SHARES: Final = {"small": (0.003, 0.01), "standard": (0.0005, 0.01)}
"""Lesion area over tissue area, drawn uniformly on a logarithmic scale. On a small slide 0.3 % is 0.07 mm."""
Size = Literal["small", "standard"]
CROWD: Final = {"small": 3, "standard": 8}
"""Further look-alikes of each kind, beside the few that any phantom has."""
LOOK_ALIKES: Final = ("reactive glands", "mild inflammation", "crush")
"""On every slide of the measurement; slides that lack one are passed over."""
SHOWN: Final = 0.1
"""Least share of the lesion's area that is tumour, dysplasia or mucin: less is a lesion in name only."""
_MASK_UM: Final = 2.0
_CELL_MM2: Final = 64e-6


class SlideTruth(Frozen):
    """What is true of one slide. Areas in mm², outlines in level-0 px."""

    seed: int
    size: Size
    phantom_version: int = PHANTOM_VERSION
    diagnosis: str
    grade: str
    scanner: str
    held_out_scanner: bool
    mpp: float
    tissue_mm2: float
    lesion_mm2: float
    shown: float = Field(description="share of the lesion that is tumour, dysplasia or mucin")
    lesion: tuple[tuple[tuple[float, float], ...], ...]
    passed_over: dict[int, str] = Field(description="seeds before this one that do not fit, and why")

    @property
    def share(self) -> float:
        """Lesion area over tissue area."""
        return self.lesion_mm2 / self.tissue_mm2

    @property
    def lesion_mm(self) -> float:
        """Diameter of a circle of the lesion's area."""
        return 2 * math.sqrt(self.lesion_mm2 / math.pi)


def prepare(
    out: Path, count: int, *, first_seed: int = FIRST_SEED, size: Size = "standard"
) -> Iterator[tuple[Path, SlideTruth]]:
    """(slide file, truth) of each slide; what `out` holds already is not made again."""
    seed = first_seed
    for number in range(1, count + 1):
        slide, at = out / "slides" / f"{number:04d}.tiff", out / "truth" / f"{number:04d}.json"
        if not (slide.is_file() and at.is_file()):
            truth = _make(seed, size, slide)
            write_text_atomic(at, truth.model_dump_json() + "\n")
        truth = SlideTruth.model_validate_json(at.read_text(encoding="utf-8"))
        seed = truth.seed + 1
        yield slide, truth


def _make(seed: int, size: Size, slide: Path) -> SlideTruth:
    """Paint the first slide from `seed` on that fits."""
    from pathagent_tools.phantom.slide import write_slide

    passed_over: dict[int, str] = {}
    while True:
        phantom, held_out = planned(seed, size)
        truth = truth_of(phantom, held_out=held_out, passed_over=passed_over)
        if not (why := unfit(phantom, truth)):
            write_slide(phantom, slide.parent, name=slide.stem, truth=False)
            return truth
        passed_over[seed] = why
        seed += 1


def planned(seed: int, size: Size = "standard") -> tuple[Phantom, bool]:
    """The world of a seed, not painted yet, and whether its scanner is one that no recipe uses."""
    from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT, SCANNERS_TRAIN
    from pathagent_tools.phantom.world import make_phantom

    rng = Random(f"navigation-{seed}")
    held_out = rng.random() < 0.5
    scanner = rng.choice(SCANNERS_HELD_OUT if held_out else SCANNERS_TRAIN).name
    neoplasms = [d for d in DIAGNOSES if d not in ("no significant abnormality", "chronic inflammation")]
    family, share = rng.choice(neoplasms), math.exp(rng.uniform(*(math.log(s) for s in SHARES[size])))
    phantom = make_phantom(
        seed,
        size,
        scanner=scanner,
        diagnosis=family,
        lesion_share=share,
        look_alikes=CROWD[size],
    )
    return phantom, held_out


def unfit(phantom: Phantom, truth: SlideTruth) -> str:
    """Why a slide is not measured on; empty where it is."""
    there = {p.kind for p in phantom.layout.look_alikes} | {a.kind for a in phantom.artifacts}
    if missing := [kind for kind in LOOK_ALIKES if kind not in there]:
        return f"no {missing[0]}"
    least, most = SHARES[truth.size]
    if not 0.9 * least <= truth.share <= most:
        return f"a lesion of {truth.share:.2%}"
    return "" if truth.shown >= SHOWN else "hardly a tumour cell in the lesion"


def truth_of(phantom: Phantom, *, held_out: bool, passed_over: dict[int, str]) -> SlideTruth:
    """The lesion as it is painted, with its frayed border, and how much of it shows disease."""
    import numpy as np

    from pathagent_tools.phantom import classes as k
    from pathagent_tools.phantom.plan import PLAN_CELL_UM
    from pathagent_tools.phantom.world import LEVEL0_MPP

    rows, columns = np.nonzero(phantom.diseased.mask)
    left, right = (float(v) * PLAN_CELL_UM for v in (columns.min() - 6, columns.max() + 7))
    top, bottom = (float(v) * PLAN_CELL_UM for v in (rows.min() - 6, rows.max() + 7))
    maps = phantom.label((left, top, right - left, bottom - top), _MASK_UM)
    disease = (
        k.C_DYSPLASTIC, k.C_TUMOUR, k.C_MUCIN, k.C_NECROSIS, k.C_DYSPLASTIC_LUMEN, k.C_TUMOUR_LUMEN,
    )  # fmt: skip
    inside = maps.labels[maps.lesion]
    return SlideTruth(
        seed=phantom.seed,
        size="small" if phantom.size == "small" else "standard",
        diagnosis=phantom.diagnosis,
        grade=phantom.grade,
        scanner=phantom.scanner.name,
        held_out_scanner=held_out,
        mpp=LEVEL0_MPP,
        tissue_mm2=round(float((phantom.layout.zones != k.GLASS).sum()) * _CELL_MM2, 4),
        lesion_mm2=round(float(maps.lesion.sum()) * (_MASK_UM / 1000) ** 2, 6),
        shown=round(float(np.isin(inside, disease).mean()), 4) if inside.size else 0.0,
        lesion=_outlines(maps.lesion, left, top),
        passed_over=passed_over,
    )


def _outlines(
    mask: NDArray[np.bool_], left: float, top: float
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Outlines of a mask at `_MASK_UM` whose corner is (left, top) µm, in level-0 px."""
    import numpy as np
    from skimage.measure import approximate_polygon, find_contours

    from pathagent_tools.phantom.world import LEVEL0_MPP

    rings = find_contours(np.pad(mask, 1).astype(float), 0.5)
    found = []
    for ring in rings:
        points = (approximate_polygon(ring, 0.4)[:, ::-1] - 0.5) * _MASK_UM + (left, top)
        if len(points) >= 4:
            found.append(tuple((round(float(x), 1), round(float(y), 1)) for x, y in points / LEVEL0_MPP))
    return tuple(found)
