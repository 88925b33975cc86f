"""Illustration: decides when a synthetic image helps, draws it, reads it back, shows it only if it holds.

It runs after verification: no claim, no judgement and no question to the model can see what it draws.
Off unless the case asks for it. Pictures go, marked, into the run's folder; the state holds their records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pathagent.resources import Resources
from pathagent.state import State, evidence_list
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Evidence, Hypothesis
from pathagent_tools.core.synthetic import SyntheticImage

if TYPE_CHECKING:
    from pathagent_tools.generators.studio import Drawn

RIVAL: Final = 0.15
"""Probability from which on a second diagnosis is worth a picture."""
MOST: Final = 2
PATCHES: Final = 6
"""Patches drawn for one look; those that are not read back as asked are left out."""
FEWEST: Final = 2
FIELD_MPP: Final = 1.0
TEACHING: Final = ("look like", "looks like", "difference between", "differ from", "typical", "what would")


@dataclass(frozen=True)
class Wish:
    """A picture that would help: of which diagnosis, why, and from which look it starts, if from one."""

    diagnosis: str
    reason: str
    look: Evidence | None = None


def illustrate(resources: Resources, state: State) -> dict[str, Any]:
    """Records of the pictures that hold what they claim, and a sentence for each that does not."""
    if not state["case"].illustrate:
        return {}
    shown: list[SyntheticImage] = []
    withheld: list[str] = []
    for wish in wishes(state, known=resources.profile.domain == "phantom")[:MOST]:
        try:
            shown += _draw(resources, state, wish, number=len(shown) + 1)
        except UserError as error:
            withheld.append(f"No illustration of {wish.diagnosis}: {error}")
        except NotHeldError as error:
            withheld.append(f"An illustration of {wish.diagnosis} was drawn and is not shown: {error}")
    return {"illustrations": shown, "withheld": withheld}


class NotHeldError(Exception):
    """What was drawn does not show what it claims."""


def wishes(state: State, *, known: bool) -> list[Wish]:
    """What would help here, most useful first; nothing where no tissue was read as H&E.

    known: whether the generator knows the tissue of this profile; the embedded one knows phantoms only.
    """
    differential = state.get("differential", [])
    if not known or state["reading"] != "read" or not differential:
        return []
    found: list[Wish] = []
    leading, *others = differential
    question = (state["case"].question or "").lower()
    rival = next((h for h in others if h.diagnosis != leading.diagnosis), None)
    if state["outcome"] == "insufficient evidence":
        for hypothesis in (leading, *([rival] if rival else [])):
            reason = "the evidence did not decide, and this is what the diagnosis usually looks like"
            found.append(Wish(hypothesis.text, reason))
    elif rival is not None and rival.probability >= RIVAL:
        reason = (
            f"the differential holds {rival.text} at {rival.probability:.0%} beside {leading.text}: "
            "what would have to be seen in this field instead"
        )
        found.append(Wish(rival.text, reason, _support(leading, evidence_list(state))))
    if any(phrase in question for phrase in TEACHING):
        found.append(Wish(leading.text, "the question asks what it looks like"))
    return found


def _support(leading: Hypothesis, looks: list[Evidence]) -> Evidence | None:
    """The look that shows most of the leading diagnosis: tumour before dysplasia before the rest."""
    weight = {"invasive tumour": 2, "dysplastic epithelium": 1}
    read = [e for e in looks if e.findings is not None]
    best = max(read, key=lambda e: (weight.get(e.findings.tissue, 0), e.confidence or 0.0), default=None)  # type: ignore[union-attr]
    return best if leading.diagnosis else None


def _draw(resources: Resources, state: State, wish: Wish, *, number: int) -> list[SyntheticImage]:
    """Draw, read back, then mark and write; NotHeldError where the images do not hold."""
    from pathagent_tools.generators.publishing import publish

    if resources.work is None:
        raise UserError("this run keeps no folder to write into.")
    seed = state["case"].seed + number
    drawn = _counterfactual(resources, wish, seed) if wish.look else _patches(resources, wish, seed)
    folder = Path(resources.work)
    done = resources.tool(
        f"generate_{drawn.task}",
        lambda: publish(resources.studio, drawn, folder, reason=wish.reason, number=number).images[:1],
        diagnosis=wish.diagnosis,
        seed=seed,
    )
    return list(done)


def _patches(resources: Resources, wish: Wish, seed: int) -> Drawn:
    from pathagent_tools.generators.tasks.patches import PatchRequest, draw_patches

    drawn = draw_patches(resources.studio, PatchRequest(prompt=wish.diagnosis, n=PATCHES, seed=seed))
    held = [i for i, found in enumerate(drawn.read_back) if found and all(r.agrees for r in found)]
    if len(held) < FEWEST:
        raise NotHeldError(f"the encoder read {len(held)} of {PATCHES} patches as what they claim.")
    return replace(
        drawn,
        title=f"What {wish.diagnosis} may look like",
        images=tuple(drawn.images[i] for i in held),
        captions=tuple(drawn.captions[i] for i in held),
        words=tuple(drawn.words[i] for i in held),
        read_back=tuple(drawn.read_back[i] for i in held),
    )


def _counterfactual(resources: Resources, wish: Wish, seed: int) -> Drawn:
    from pathagent_tools.generators.prompt import read_prompt
    from pathagent_tools.generators.tasks.counterfactual import edit_towards

    assert wish.look is not None
    slide = resources.slide(wish.look.region.slide)
    side = round(resources.studio.generator.px * FIELD_MPP / slide.slide.mpp)
    x, y = (round(centre - side / 2) for centre in wish.look.region.center)
    region = Region(slide=wish.look.region.slide, x=x, y=y, width=side, height=side, mpp=FIELD_MPP)
    words = read_prompt(wish.diagnosis)
    drawn = edit_towards(resources.studio, slide.read(region), words, mpp=FIELD_MPP, seed=seed)
    if not drawn.numbers["moved"]:
        raise NotHeldError(f"the encoder still reads the edited field as {drawn.numbers['verdict_after']}.")
    captions = (f"{wish.look.id}, as scanned: {drawn.captions[0]}", *drawn.captions[1:])
    return replace(drawn, title=f"{wish.look.id} edited towards {wish.diagnosis}", captions=captions)
