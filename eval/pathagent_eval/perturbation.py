"""Does an answer hang on the pixels? The same question of the region that shows it, of another, of nothing.

Each region is asked about through `pathagent.ask(…, region=…)`: it is looked at and nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_eval.controls import BlankImages
from pathagent_tools.core.errors import PathAgentError
from pathagent_tools.phantom import classes as k

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import SlideEncoder, VisionLanguageModel
    from pathagent_tools.phantom.truth import PhantomTruth

Box = tuple[int, int, int, int]
"""(x, y, width, height) in level-0 px."""
HERE: Final = "here"
OTHER: Final = "another region"
BACKGROUND: Final = "background"
BLANKED: Final = "blanked"
FIELD_UM: Final = 192.0
SHOWN: Final = 0.5
"""Share of a field that what is asked for must cover: nobody disputes that it is there."""
CLASSES_OF: Final[Mapping[str, tuple[int, ...]]] = {
    "invasive tumour": (k.C_TUMOUR, k.C_TUMOUR_LUMEN),
    "dysplasia": (k.C_DYSPLASTIC, k.C_DYSPLASTIC_LUMEN),
    "necrosis": (k.C_NECROSIS,),
    "mucin": (k.C_MUCIN,),
    "adipose": (k.C_ADIPOSE,),
}
"""Topic of a question → the classes of the tissue map that show it."""


def places(truth: PhantomTruth, topic: str) -> dict[str, Box]:
    """Where to ask: `here` (most of what is asked for), another region without any, background, blanked.

    A place that the slide does not have is left out; empty where no field shows enough of the topic.
    """
    cell_px = truth.tissue_map.um_per_cell / truth.mpp
    side = round(FIELD_UM / truth.tissue_map.um_per_cell)
    classes = truth.tissue_map.array()
    asked = _shares(np.isin(classes, CLASSES_OF[topic]), side)
    glass = _shares(classes == k.C_BACKGROUND, side)
    if asked.size == 0 or asked.max() < SHOWN:
        return {}
    rng = Random(f"perturbation-{truth.seed}-{topic}")
    here = np.unravel_index(int(asked.argmax()), asked.shape)
    found = {
        HERE: here,
        OTHER: _one_of(np.argwhere((asked == 0) & (glass < SHOWN)), rng),
        BACKGROUND: _one_of(np.argwhere(glass == 1), rng),
        BLANKED: here,
    }
    px = round(FIELD_UM / truth.mpp)
    return {
        name: (round(place[1] * cell_px), round(place[0] * cell_px), px, px)
        for name, place in found.items()
        if place is not None
    }


def _shares(mask: NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    """[rows, columns]: share of every `side` × `side` window of cells that the mask covers."""
    if min(mask.shape) < side:
        return np.empty((0, 0))
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(0).cumsum(1)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.asarray(inside / side**2)


def _one_of(cells: NDArray[np.int64], rng: Random) -> tuple[Any, ...] | None:
    return tuple(cells[rng.randrange(len(cells))]) if len(cells) else None


def questions_of(truth: PhantomTruth, n: int) -> list[dict[str, Any]]:
    """Up to `n` of the slide's yes-or-no questions whose answer is yes and stands in one field."""
    fit = [
        dict(q)
        for q in truth.questions
        if q["kind"] == "yesno" and q["answer"] == "yes" and q["topic"] in CLASSES_OF
    ]
    shown = [q for q in fit if places(truth, q["topic"])]
    return Random(f"perturbation-{truth.seed}").sample(shown, min(n, len(shown)))


def perturbed(
    question: Mapping[str, Any],
    at: Mapping[str, Box],
    slide: Path,
    *,
    vlm: VisionLanguageModel,
    encoder: SlideEncoder,
) -> dict[str, str | None]:
    """Place → the answer there; None where the run failed."""
    import pathagent

    said: dict[str, str | None] = {}
    for name, box in at.items():
        seeing = BlankImages(vlm) if name == BLANKED else vlm
        try:
            report = pathagent.ask(
                slide,
                str(question["text"]),
                options=tuple(question["options"]),
                region=box,
                vlm=seeing,
                encoder=encoder,
            )
        except PathAgentError:
            said[name] = None
        else:
            said[name] = report.answer or ""
    return said
