"""One picture in the stain of another (IMG-14): Macenko and Reinhard from torchstain, Vahadane over
scikit-learn's dictionary learning, the generator beside."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.conditions import Conditions, Reference, stain_code
from pathagent_tools.generators.sources import Source, read_picture
from pathagent_tools.generators.studio import Drawn, Studio
from pathagent_tools.generators.tasks.patches import Seed

Method = Literal["macenko", "vahadane", "reinhard", "generator"]
DEFAULT: Final[Method] = "vahadane"
_DENSE: Final = 0.15
"""Optical density from which on a pixel is tissue."""
_LEARNED_FROM: Final = 4000
"""Pixels from which Vahadane's method learns the two dyes."""
_SPARSE: Final = 0.1
_ALIKE: Final = 0.995
"""Cosine from which on two dyes are one: of H&E fields it is 0.91 to 0.991."""


class StainRequest(Frozen):
    """A picture is brought into the stain of a reference picture; what it shows must not change."""

    source: Source
    reference: Path = Field(description="picture whose stain is wanted")
    method: Method = DEFAULT
    seed: Seed = 0


def draw_stained(studio: Studio, request: StainRequest) -> Drawn:
    """Picture, reference and result, with similarity of structure and distance of stain before and after."""
    image, reference = request.source.read(), read_picture(request.reference)
    result = normalise(studio, image, reference, request.source.mpp, request.method, request.seed)
    return Drawn(
        task="stain",
        title=f"In the stain of a reference, by {request.method}",
        images=(image, reference, result),
        captions=("as given", "reference (given)", f"normalised ({request.method})"),
        words=({}, {}, {}),
        request=request.model_dump(mode="json"),
        seed=request.seed,
        mpp=request.source.mpp,
        synthetic=(False, False, True),
        numbers={
            "structure_ssim": round(structure(image, result), 4),
            "stain_distance_before": round(stain_distance(image, reference), 4),
            "stain_distance_after": round(stain_distance(result, reference), 4),
        },
        columns=3,
        classical="" if request.method == "generator" else request.method,
    )


def normalise(
    studio: Studio, image: Image, reference: Image, mpp: float, method: Method, seed: int = 0
) -> Image:
    """The image in the stain of the reference. UserError where either holds too little tissue."""
    for name, picture in (("picture", image), ("reference", reference)):
        if stain_code(picture) is None:
            raise UserError(f"The {name} holds too little tissue to estimate its stain: give another.")
    if method == "generator":
        return _generated(studio, image, reference, mpp, seed)
    by_name = {"macenko": macenko, "vahadane": vahadane, "reinhard": reinhard}
    return by_name[method](image, reference)


def macenko(image: Image, reference: Image) -> Image:
    """Macenko et al. 2009. UserError where the image has too little of both dyes to part them."""
    import torchstain

    normaliser = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    try:
        normaliser.fit(reference)
        result, _, _ = normaliser.normalize(I=image, stains=False)
    except (np.linalg.LinAlgError, ValueError, IndexError) as error:
        raise UserError(
            f"Macenko's method cannot part the dyes here ({error}): use --method reinhard."
        ) from error
    return np.asarray(np.clip(result, 0, 255), np.uint8)


def vahadane(image: Image, reference: Image) -> Image:
    """Vahadane et al. 2016: two dyes that mix without cancelling, each pixel holding as few as it can.

    The amounts of the image's dyes are scaled to the reference's at their 99th percentiles in the tissue.
    UserError where either picture shows one dye alone.
    """
    own, amounts = _dyes(image)
    wanted, others = _dyes(reference)
    most, least = (
        np.percentile(amount[_tissue(picture)], 99, axis=0)
        for amount, picture in ((others, reference), (amounts, image))
    )
    scale = most / np.maximum(least, 1e-6)
    rest = _density(image) - amounts @ own  # what two dyes do not explain is kept
    density = (amounts * scale) @ wanted + rest
    return np.asarray(np.clip(255 * np.exp(-density), 0, 255), np.uint8).reshape(image.shape)


def _density(image: Image) -> NDArray[np.float64]:
    """[pixels, 3]."""
    return np.asarray(-np.log(np.maximum(image.reshape(-1, 3), 1) / 255.0))


def _tissue(image: Image) -> NDArray[np.bool_]:
    """[pixels]: whether each is denser than glass."""
    return np.asarray((_density(image) > _DENSE).any(1))


def _dyes(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colours of haematoxylin and eosin [2, 3], of length 1, and how much of each every pixel holds."""
    import warnings

    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    density = _density(image)
    tissue = density[_tissue(image)]
    some = np.linspace(0, len(tissue) - 1, min(_LEARNED_FROM, len(tissue))).astype(int)
    learner = MiniBatchDictionaryLearning(
        n_components=2, alpha=_SPARSE, positive_code=True, positive_dict=True, fit_algorithm="cd",
        max_iter=20, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of single pixels, to a ten millionth
        learner.fit(tissue[some])
    found = learner.components_ / np.linalg.norm(learner.components_, axis=1, keepdims=True)
    dyes = found[np.argsort(-found[:, 0])]  # haematoxylin takes more of the red
    if not dyes[0] @ dyes[1] < _ALIKE:
        raise UserError("Vahadane's method cannot part the dyes here: use --method reinhard.")
    amounts = density @ np.linalg.pinv(dyes)
    alone = np.maximum(density @ dyes.T, 0)  # where one of two would be less than nothing, the other is all
    without = amounts < 0
    amounts = np.where(without[:, ::-1], alone, amounts)
    return dyes, np.where(without, 0, amounts)


def reinhard(image: Image, reference: Image) -> Image:
    """Reinhard et al. 2001, means and deviations in Lab."""
    import torchstain

    normaliser = torchstain.normalizers.ReinhardNormalizer(backend="numpy")
    normaliser.fit(reference)
    return np.asarray(np.clip(normaliser.normalize(I=image), 0, 255), np.uint8)


def structure(a: Image, b: Image) -> float:
    """SSIM of the two pictures' grey levels after both have the same mean and deviation."""
    from skimage.metrics import structural_similarity

    grey = [p.astype(np.float64).mean(-1) for p in (a, b)]
    unit = [(g - g.mean()) / (g.std() + 1e-6) for g in grey]
    return float(structural_similarity(unit[0], unit[1], data_range=float(np.ptp(unit[0])) or 1.0))


def stain_distance(a: Image, b: Image) -> float:
    """Root mean square difference of the two pictures' stain codes; NaN where one has no tissue."""
    codes = stain_code(a), stain_code(b)
    if codes[0] is None or codes[1] is None:
        return float("nan")
    return float(np.sqrt(np.mean((np.array(codes[0]) - np.array(codes[1])) ** 2)))


def _generated(studio: Studio, image: Image, reference: Image, mpp: float, seed: int) -> Image:
    px, code = studio.generator.px, stain_code(reference)
    h, w = image.shape[:2]
    if min(h, w) < px:
        raise UserError(f"The picture needs at least {px} px a side for the generator: use --method macenko.")
    total = np.zeros((h, w, 3), np.float32)
    weight = np.zeros((h, w, 1), np.float32)
    ramp = np.minimum(np.arange(1, px + 1), np.arange(px, 0, -1)).astype(np.float32)
    window = (ramp[:, None] * ramp[None, :])[..., None]
    for y in sorted({min(y, h - px) for y in range(0, h, px // 2)}):
        for x in sorted({min(x, w - px) for x in range(0, w, px // 2)}):
            part = np.ascontiguousarray(image[y : y + px, x : x + px])
            told = Conditions(
                stain=code, reference=Reference(part, np.ones((px, px), bool), "stain"), mpp=mpp
            )
            total[y : y + px, x : x + px] += window * studio.draw([told], [seed])[0]
            weight[y : y + px, x : x + px] += window
    return np.asarray(np.round(total / weight), np.uint8)
