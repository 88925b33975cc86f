"""How well a generator edits what it is given: repairs, stains, counterfactuals, on fields of other worlds.

Every score stands beside what it can be compared with: Telea's inpainting, classical stain normalisation,
doing nothing, the exact partner of a field, an edit to another lesion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune.generator_features import features_of
from pathagent_finetune.generator_store import CHANGED, FieldStore
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.conditions import stain_code
from pathagent_tools.generators.library import COMPOSING
from pathagent_tools.generators.read_back import SHOWS, read_back
from pathagent_tools.generators.studio import Studio
from pathagent_tools.phantom.stain import SCANNERS_TRAIN

COVER: Final = (200, 190, 200)
"""Colour that hides real tissue, to be repaired."""
Words = dict[str, str]
_LESIONS: Final[tuple[Words, ...]] = tuple(
    {"tissue": tissue, "architecture": architecture}
    for tissue, architecture in SHOWS.values()
    if tissue in ("invasive tumour", "dysplastic epithelium", "benign epithelium")
)
_NORMAL: Final[Words] = {"tissue": "benign epithelium", "architecture": "regular glands"}


@dataclass(frozen=True)
class _Edit:
    """A counterfactual of the field `index`."""

    index: int
    image: Image
    moved: bool
    area: float


def restoration(studio: Studio, test: FieldStore, n: int, data: Path | None = None) -> dict[str, Any]:
    """PSNR and SSIM in the repaired area, generator beside Telea, on pairs with and without artifact.

    data: the shared data folder; tiles of real tissue with parts under flat grey are then repaired too.
    """
    from pathagent_tools.generators.tasks.restoration import MAX_COVER

    pairs: list[_Damaged] = []
    for i in range(len(test)):
        mask = _mask(test, i, CHANGED)
        if test.truth[i]["partner"] == "artifact" and 0.03 < float(mask.mean()) < MAX_COVER:
            pairs.append((test.get("partners", i), mask, test.get("images", i)))
    out: dict[str, Any] = _repaired(studio, pairs[:n])
    if data is not None:
        out["real tissue under flat grey"] = _repaired(studio, _covered(data, studio.generator.px, n))
    return out


_Damaged = tuple[Image, NDArray[np.bool_], Image]
"""(damaged, where, as it was)."""


def _covered(data: Path, px: int, n: int) -> list[_Damaged]:
    """Tiles of every set of real tissue in turn, with holes as in training."""
    from pathagent_finetune.generator_batch import draw_holes
    from pathagent_finetune.real_tiles import real_tiles
    from pathagent_tools.generators.tasks.restoration import MAX_COVER

    turns = zip_longest(*real_tiles(data, px).values())
    out: list[_Damaged] = []
    for seed, tile in enumerate(tile for turn in turns for tile in turn if tile is not None):
        mask = draw_holes(px, np.random.default_rng([seed, 43]))
        if mask.mean() < MAX_COVER and len(out) < n:
            damaged = tile.copy()
            damaged[mask] = COVER
            out.append((damaged, mask, tile))
    return out


def _repaired(studio: Studio, pairs: Sequence[_Damaged]) -> dict[str, Any]:
    """Both methods' mean scores over the repaired areas."""
    from skimage.metrics import structural_similarity

    from pathagent_tools.generators.tasks.restoration import restore

    out: dict[str, Any] = {"n": len(pairs)}
    for method in ("generator", "telea"):
        psnr, ssim, same = [], [], True
        for damaged, mask, true in pairs:
            fixed = restore(studio, damaged, mask, 1.0, method)
            error = ((fixed.astype(float) - true)[mask] ** 2).mean()
            psnr.append(10 * np.log10(255**2 / max(error, 1e-6)))
            _, maps = structural_similarity(fixed, true, channel_axis=2, full=True)
            ssim.append(float(maps[mask].mean()))
            same &= bool(np.array_equal(fixed[~mask], damaged[~mask]))
        out[method] = {
            "psnr_db": round(float(np.mean(psnr)), 2),
            "ssim": round(float(np.mean(ssim)), 3),
            "unmasked_identical": same,
        }
    return out


def stain(studio: Studio, test: FieldStore, n: int) -> dict[str, Any]:
    """Distance to the reference's stain and SSIM to the exact pair, for each method and for doing nothing.

    read_as_truth: share of the fields whose tissue the encoder names, in scanners that its training had seen
    and in others, when all are brought into the stain of one field of a scanner that it had seen.
    """
    from skimage.metrics import structural_similarity

    from pathagent_tools.generators.tasks.stains import stain_distance

    chosen = [
        i for i in range(len(test))
        if test.truth[i]["partner"] == "stain" and stain_code(test.get("images", i)) is not None
    ][:n]  # fmt: skip
    known = {scanner.name for scanner in SCANNERS_TRAIN}
    home = next(i for i in chosen if test.truth[i]["scanner"] in known)
    groups = {
        "scanners_seen": [i for i in chosen if test.truth[i]["scanner"] in known and i != home],
        "scanners_unseen": [i for i in chosen if test.truth[i]["scanner"] not in known],
    }
    out: dict[str, Any] = {"n": len(chosen)} | {f"n_{name}": len(of) for name, of in groups.items()}
    for method in ("nothing", "macenko", "vahadane", "reinhard", "generator"):
        results = {i: _in_stain(studio, test, i, test.get("partners", i), method) for i in chosen}
        done = {i: result for i, result in results.items() if result is not None}
        distance = [stain_distance(result, test.get("partners", i)) for i, result in done.items()]
        ssim = [
            float(structural_similarity(result, test.get("partners", i), channel_axis=2))
            for i, result in done.items()
        ]
        at_home = {i: _in_stain(studio, test, i, test.get("images", home), method) for i in chosen}
        out[method] = {
            "stain_distance": round(float(np.nanmean(distance)), 4),
            "ssim_to_exact_pair": round(float(np.mean(ssim)), 3),
            "failed": len(results) - len(done),
            "read_as_truth": {name: _read(studio, test, of, at_home) for name, of in groups.items()},
        }
    return out


def _in_stain(studio: Studio, test: FieldStore, i: int, wanted: Image, method: str) -> Image | None:
    """Field `i` in the stain of another picture; None where the method cannot."""
    from pathagent_tools.core.errors import UserError
    from pathagent_tools.generators.tasks.stains import normalise

    image = test.get("images", i)
    if method == "nothing":
        return image
    try:
        return normalise(studio, image, wanted, 1.0, method)  # type: ignore[arg-type]
    except UserError:
        return None


def _read(
    studio: Studio, test: FieldStore, fields: Sequence[int], pictures: Mapping[int, Image | None]
) -> float:
    """Share of the fields that the encoder reads as what they show; where a method failed it does not."""
    right = 0
    for i in fields:
        if (picture := pictures[i]) is not None:
            words = {slot: test.truth[i]["findings"][slot] for slot in COMPOSING}
            ((claim,),) = read_back(studio.encoder, [picture], [words], 1.0)
            right += claim.agrees
    return round(right / max(1, len(fields)), 3)


def counterfactual(studio: Studio, test: FieldStore, n: int) -> dict[str, Any]:
    """Tumour and dysplasia edited towards normal glands: how often the verdict moves, and what stays.

    `towards_the_partner`: fields whose exact partner has another lesion, edited towards that lesion and, for
    comparison, towards another one. `cosine`: of the change in the encoder's embedding with the change that
    the true partner makes; `nearer_than_the_other_edit`: how often the asked edit's is the greater.
    """
    abnormal = ("invasive tumour", "dysplastic epithelium")
    fields = [i for i in range(len(test)) if test.truth[i]["findings"]["tissue"] in abnormal]
    edits = (edit for i in fields if (edit := _edited(studio, test, i, _NORMAL)) is not None)
    return _kept(test, islice(edits, n)) | {"towards_the_partner": _by_truth(studio, test, n)}


def _by_truth(studio: Studio, test: FieldStore, n: int) -> dict[str, Any]:
    """Edits towards the lesion of the exact partner, and whether they go its way."""
    asked: list[_Edit] = []
    cosines: list[tuple[float, float]] = []
    for i in range(len(test)):
        row = test.truth[i]
        words, own = (_look(row[key]) for key in ("partner_findings", "findings"))
        if row["partner"] != "lesion" or words == own or words not in _LESIONS or len(asked) == n:
            continue
        others = [look for look in _LESIONS if look not in (words, own)]
        edit = _edited(studio, test, i, words)
        other = _edited(studio, test, i, others[i % len(others)])
        if edit is None or other is None:
            continue
        image, partner = test.get("images", i), test.get("partners", i)
        start, *ends = features_of(studio.encoder, [image, partner, edit.image, other.image])
        truth, towards, away = ((end - start) / (np.linalg.norm(end - start) + 1e-9) for end in ends)
        asked.append(edit)
        cosines.append((float(truth @ towards), float(truth @ away)))
    return _kept(test, asked) | {
        "cosine": round(float(np.mean([c for c, _ in cosines])), 3),
        "cosine_of_the_other_edit": round(float(np.mean([c for _, c in cosines])), 3),
        "nearer_than_the_other_edit": round(float(np.mean([c > o for c, o in cosines])), 3),
    }


def _edited(studio: Studio, test: FieldStore, i: int, words: Words) -> _Edit | None:
    """A field's counterfactual; None where the encoder reads it as what the words say already."""
    from pathagent_tools.core.errors import UserError
    from pathagent_tools.generators.tasks.counterfactual import edit_towards

    try:
        drawn = edit_towards(studio, test.get("images", i), words, mpp=1.0, seed=i)
    except UserError:
        return None
    return _Edit(i, drawn.images[1], moved=bool(drawn.numbers["moved"]), area=float(drawn.numbers["area"]))


def _kept(test: FieldStore, edits: Iterable[_Edit]) -> dict[str, Any]:
    """How often the verdict moved, what share was drawn anew, and SSIM of what was not."""
    from scipy.ndimage import binary_closing
    from skimage.metrics import structural_similarity

    outside, edits = [], list(edits)
    for edit in edits:
        image = test.get("images", edit.index)
        changed = np.pad((edit.image != image).any(-1), 8, mode="edge")
        kept = ~binary_closing(changed, iterations=6)[8:-8, 8:-8]
        _, maps = structural_similarity(edit.image, image, channel_axis=2, full=True)
        if kept.any():
            outside.append(float(maps[kept].mean()))
    return {
        "moved": round(float(np.mean([e.moved for e in edits])), 3),
        "area": round(float(np.mean([e.area for e in edits])), 3),
        "ssim_outside": round(float(np.mean(outside)), 3) if outside else None,
        "n": len(edits),
    }


def _look(findings: dict[str, str]) -> Words:
    return {slot: findings[slot] for slot in COMPOSING}


def _mask(test: FieldStore, i: int, bit: int) -> NDArray[np.bool_]:
    return np.asarray((test.get("layers", i) & bit) > 0)
