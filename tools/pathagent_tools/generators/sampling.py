"""From noise to images in a few Euler steps, over any `ImageGenerator`."""

from __future__ import annotations

from collections.abc import Sequence
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


class Sampling(Frozen):
    """How images are drawn. guidance: 1 follows the conditions as learned, more exaggerates them."""

    steps: int = 8
    guidance: float = 1.5

    def times(self, start: float = 0.0) -> NDArray[np.float64]:
        """Times of the steps from `start` to 1."""
        return start + (1 - start) * np.linspace(0.0, 1.0, self.steps + 1) ** BEND


def check_sampling(sampling: Sampling) -> Sampling:
    """UserError where steps or guidance are out of range."""
    if not 1 <= sampling.steps <= MAX_STEPS:
        raise UserError(f"{sampling.steps} steps cannot be taken: use 1 to {MAX_STEPS}, e.g. 8.")
    if not 1.0 <= sampling.guidance <= 10.0:
        raise UserError(f"Guidance {sampling.guidance:g} is out of range: use 1 to 10, e.g. 1.5.")
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
        x = euler(generator, generator.noise(drawn, size), asked, sampling)
        out.append(keep_known(generator.decode(x), asked))
    return np.concatenate(out)


def euler(
    generator: ImageGenerator,
    x: Any,
    conditions: Sequence[Conditions],
    sampling: Sampling,
    start: float = 0.0,
) -> Any:
    """Integrate the flow from x at time `start` to the image."""
    times = sampling.times(start)
    for now, later in pairwise(times):
        clean = guided(generator, x, float(now), conditions, sampling.guidance)
        noise = (x - now * clean) / (1 - now)
        x = later * clean + (1 - later) * noise
    return x


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
