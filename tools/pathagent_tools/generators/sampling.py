"""From noise to images in a few steps, over any `ImageGenerator`.

Each step goes from the estimate of the clean image back to a time with less noise. How much of that noise is
new is a choice: none follows the flow as it was learned (Euler), fresh noise forgets what earlier steps got
wrong, which a small network needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.generators.conditions import Conditions
from pathagent_tools.generators.protocol import ImageGenerator, Images

BATCH: Final = 16
BEND: Final = 1.5
"""Above 1, steps are shorter where noise is much: what goes where, and its colour, is settled there."""
MAX_STEPS: Final = 200
SEEDS_APART: Final = 1_000_000_007
"""Between the seeds of two steps of an image: more than seeds of images are apart."""


class Sampling(Frozen):
    """How images are drawn. guidance: 1 follows the conditions as learned, more exaggerates them. fresh:
    share of the noise that each step draws anew, 0 to 1 (of its amplitude; its variance is kept)."""

    steps: int = 16
    guidance: float = 2.0
    fresh: float = 1.0

    @property
    def times(self) -> NDArray[np.float64]:
        """Times of the steps, from 0 to 1."""
        return np.linspace(0.0, 1.0, self.steps + 1) ** BEND


Noise = Callable[[int], Any]
"""Noise of the images at a step: 0 is what they start from."""


def check_sampling(sampling: Sampling) -> Sampling:
    """UserError where steps or guidance are out of range."""
    if not 1 <= sampling.steps <= MAX_STEPS:
        raise UserError(f"{sampling.steps} steps cannot be taken: use 1 to {MAX_STEPS}, e.g. 12.")
    if not 1.0 <= sampling.guidance <= 10.0:
        raise UserError(f"Guidance {sampling.guidance:g} is out of range: use 1 to 10, e.g. 2.")
    if not 0.0 <= sampling.fresh <= 1.0:
        raise UserError(f"A share of {sampling.fresh:g} of the noise cannot be new: use 0 to 1, e.g. 1.")
    return sampling


def sample(
    generator: ImageGenerator,
    conditions: Sequence[Conditions],
    seeds: Sequence[int],
    *,
    size: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008
) -> Images:
    """[n, size, size, 3] uint8, one image for each request and seed. `size`: the generator's own by default.

    Known pixels of a reference with holes or an artifact are copied into the result unchanged.
    """
    check_sampling(sampling)
    size = size or generator.px
    out = []
    for i in range(0, len(conditions), BATCH):
        asked, drawn = conditions[i : i + BATCH], seeds[i : i + BATCH]

        def noise(step: int, seeds: Sequence[int] = drawn) -> Any:
            return generator.noise([seed_of(seed, step) for seed in seeds], size)

        out.append(keep_known(generator.decode(integrate(generator, noise, asked, sampling)), asked))
    return np.concatenate(out)


def integrate(
    generator: ImageGenerator, noise: Noise, conditions: Sequence[Conditions], sampling: Sampling
) -> Any:
    """From noise to the images, in the generator's own space."""
    x = noise(0)
    for step, (now, later) in enumerate(pairwise(sampling.times), 1):
        clean = guided(generator, x, float(now), conditions, sampling.guidance)
        left = (x - now * clean) / (1 - now)
        if sampling.fresh and step < sampling.steps:
            left = (1 - sampling.fresh**2) ** 0.5 * left + sampling.fresh * noise(step)
        x = later * clean + (1 - later) * left
    return x


def seed_of(seed: int, step: int) -> int:
    """The seed of a step's noise; that of step 0 is the image's own."""
    return seed + step * SEEDS_APART


def guided(
    generator: ImageGenerator, x: Any, t: float, conditions: Sequence[Conditions], guidance: float
) -> Any:
    """The clean estimate; where words, dials or a layout are given, pushed away from what would be drawn
    without them and without the stain."""
    clean = generator.denoise(x, t, conditions)
    told = [i for i, c in enumerate(conditions) if c.words or c.dials or c.layout]
    if guidance == 1.0 or not told:
        return clean
    plain = generator.denoise(x[told], t, [unasked(conditions[i]) for i in told])
    pushed = 1.0 * clean  # a copy, whatever kind of array the generator works with
    pushed[told] = plain + guidance * (clean[told] - plain)
    return pushed


def unasked(condition: Conditions) -> Conditions:
    """The other end of guidance: resolution and reference stay."""
    return condition.but(words={}, dials={}, stain=None, layout=None)


def keep_known(images: Images, conditions: Sequence[Conditions]) -> Images:
    """Copy the known pixels of references that must not change."""
    for image, condition in zip(images, conditions, strict=True):
        reference = condition.reference
        if reference is not None and reference.kind in ("holes", "artifact", "lesion"):
            image[reference.known] = reference.image[reference.known]
    return images
