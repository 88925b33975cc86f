"""Train the head that embeds whole slides and whole reports into one space, on virtual slides.

A virtual slide is a bag of rendered tiles that a slide of one diagnosis could show, drawn by their truth; its
report states the same facts in a wording of training. Only pooling and projections are learned: the encoder's
features are computed once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune.corpus import simulate
from pathagent_finetune.tilestore import TileStore
from pathagent_tools.core.scoring.retrieval import matched
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.encoders.reading import unit
from pathagent_tools.encoders.slide_text import ARRAYS, SlideTextHead, sentences
from pathagent_tools.phantom.reports import report_text, report_wordings
from pathagent_tools.phantom.truth import Facts

if TYPE_CHECKING:
    from torch import Tensor

    from pathagent_tools.core.protocols import SlideEncoder

HEADS: Final = 4
DIM: Final = 192
BATCH: Final = 128
STEPS: Final = 1000
RATE: Final = 2e-3
TEMPERATURE: Final = 14.0
KS: Final = (1, 5, 10)
TILES: Final = (25, 90)
"""Tiles of a virtual slide: a small phantom has 30 to 150 tiles of 128 µm."""
TILE_MM2: Final = 0.128**2
NEIGHBOURS: Final = {"none": ("none",), "few": ("none", "few"), "many": ("none", "few", "many")}
"""Mitoses in a slide's densest field → what its fields may show."""
Floats = NDArray[np.float32]
Key = tuple[str, str]


@dataclass(frozen=True)
class VirtualSlide:
    """Tiles by their index in a store, and what a right report of them says."""

    tiles: NDArray[np.int64]
    facts: Facts
    lesion_mm: float
    pieces: int

    def report(self, wording: int) -> str:
        """The report in one wording."""
        return report_text(self.facts, wording, lesion_mm=self.lesion_mm, pieces=self.pieces)


class Shelf:
    """The tiles of a store by tissue and architecture, with their other slots."""

    def __init__(self, store: TileStore) -> None:
        self.slots = [row["findings"] for row in store.truth]
        self.by_key: dict[Key, list[int]] = defaultdict(list)
        self._found: dict[tuple[Any, ...], list[int]] = {}
        for i, slots in enumerate(self.slots):
            if slots["artifact"] == "none" or i % 3 == 0:  # artifacts are rarer on slides than in a store
                self.by_key[slots["tissue"], slots["architecture"]].append(i)

    def draw(self, rng: Random, key: Key, n: int, **wanted: tuple[str, ...]) -> list[int]:
        """`n` tiles of that look whose slots are among `wanted`; fewer wishes where none has them all."""
        wishes = (key, *sorted(wanted.items()))
        if wishes not in self._found:
            found = self.by_key.get(key, [])
            for slot, values in wanted.items():
                found = [i for i in found if self.slots[i][slot] in values] or found
            self._found[wishes] = found
        return rng.choices(self._found[wishes], k=n) if self._found[wishes] else []


def draw_slide(seed: int, shelf: Shelf) -> VirtualSlide:
    """A virtual slide: family and grade evenly, facts and looks by the tables of the simulated cases."""
    rng = Random(f"virtual-{seed}")
    diagnosis = rng.choice(list(DIAGNOSES))
    grade = rng.choice(DIAGNOSES[diagnosis])
    drawn = simulate.draw_facts(rng, diagnosis, grade)
    size = rng.randint(*TILES)
    share = 0.0 if diagnosis == "no significant abnormality" else rng.choice((0.05, 0.15, 0.3, 0.5))
    if diagnosis == "chronic inflammation":
        share = rng.choice((0.3, 0.5, 0.7))
    in_lesion = max(2, round(share * size)) if share else 0
    tiles: list[int] = []
    if in_lesion:
        table = simulate.lesion_table(diagnosis, grade)
        for key in rng.choices(list(table), weights=list(table.values()), k=in_lesion):
            tiles += shelf.draw(rng, key, 1, **_wishes(key, drawn))
        tiles += _proofs(rng, shelf, diagnosis, drawn)
    ordinary = {k: w for k, w in simulate.ORDINARY.items() if w >= LEAST_ORDINARY}
    for key in rng.choices(list(ordinary), weights=list(ordinary.values()), k=size - in_lesion):
        tiles += shelf.draw(rng, key, 1, inflammation=("none", "mild"), mitoses=("none",))
    inflamed = grade == "marked"
    facts = Facts.model_validate(
        {
            "diagnosis": diagnosis,
            "grade": grade,
            "lesion": "present" if in_lesion else "absent",
            "architecture": simulate.ARCHITECTURE.get(
                diagnosis, "diffuse infiltrate" if inflamed else "regular glands"
            ),
            "nuclear_grade": drawn.nuclei if drawn.nuclei != "none" else "low",
            "mitoses": drawn.mitoses,
            "necrosis": "present" if drawn.necrosis else "absent",
            "inflammation": drawn.inflammation,
        }
    )
    lesion_mm = 2 * float(np.sqrt(in_lesion * TILE_MM2 / np.pi))
    return VirtualSlide(np.array(sorted(tiles), np.int64), facts, lesion_mm, rng.randint(1, 6))


LEAST_ORDINARY: Final = 0.015
"""Rarer looks of the simulated cases are misreadings, which truth does not have."""


def _wishes(key: Key, drawn: simulate.DrawnFacts) -> dict[str, tuple[str, ...]]:
    """What a tile of the lesion must be like."""
    wishes: dict[str, tuple[str, ...]] = {"mitoses": NEIGHBOURS[drawn.mitoses]}
    if key[0] in ("invasive tumour", "dysplastic epithelium"):
        wishes = {"nuclear_grade": (drawn.nuclei,), **wishes}
    if key[0] != "lymphoid infiltrate":
        wishes["inflammation"] = (drawn.inflammation,)
    return wishes | {"necrosis": ("absent", "present") if drawn.necrosis else ("absent",)}


def _proofs(rng: Random, shelf: Shelf, diagnosis: str, drawn: simulate.DrawnFacts) -> list[int]:
    """A tile or two that show what the report says is somewhere: the densest field, the necrosis."""
    found: list[int] = []
    if diagnosis in simulate.ARCHITECTURE and drawn.mitoses != "none":
        tissue = "dysplastic epithelium" if diagnosis == "adenoma" else "invasive tumour"
        key = (tissue, simulate.ARCHITECTURE[diagnosis])
        found += shelf.draw(rng, key, 2, mitoses=(drawn.mitoses,), nuclear_grade=(drawn.nuclei,))
    if drawn.necrosis:
        found += shelf.draw(rng, ("necrosis", "none"), rng.randint(1, 3))
    return found


def train(encoder: SlideEncoder, store: TileStore, *, seed: int, steps: int = STEPS) -> SlideTextHead:
    """The head for an encoder with a text tower, from the tiles of a training store."""
    import torch

    torch.manual_seed(seed)
    features = unit(encoder.encode_tiles(np.stack([store.image(i) for i in range(len(store))])))
    shelf, said = Shelf(store), _Sentences(encoder)
    made = _start(features.shape[1], seed)
    optimiser = torch.optim.AdamW(made.values(), lr=RATE, weight_decay=0.02)
    wordings = [i for i, w in enumerate(report_wordings()) if not w["held_out"]]
    for step in range(steps):
        rng = Random(f"{seed}:{step}")
        slides = [draw_slide(seed * 10_000_019 + step * BATCH + i, shelf) for i in range(BATCH)]
        tiles, there = _padded([features[s.tiles] for s in slides])
        words, spoken = _padded([said.of(s.report(rng.choice(wordings))) for s in slides])
        same = torch.tensor([[a.facts == b.facts for b in slides] for a in slides])
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * (1 - 0.98 * step / steps)
        slide = _embed(tiles, there, made["slide_queries"], made["slide_weight"])
        report = _embed(words, spoken, made["text_queries"], made["text_weight"])
        loss = _matched(TEMPERATURE * slide @ report.T, same)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return SlideTextHead({name: made[name].detach().numpy() for name in ARRAYS})


class _Sentences:
    """Embeddings of sentences, each computed once."""

    def __init__(self, encoder: SlideEncoder) -> None:
        self._encoder, self._known = encoder, dict[str, Floats]()

    def of(self, text: str) -> Floats:
        found = sentences(text)
        if new := [s for s in dict.fromkeys(found) if s not in self._known]:
            self._known |= zip(new, unit(self._encoder.encode_texts(new)), strict=True)
        return np.stack([self._known[s] for s in found])


def _start(dim: int, seed: int) -> dict[str, Tensor]:
    """Queries drawn, projections that begin as the mean of what was pooled."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for side in ("slide", "text"):
        made[f"{side}_queries"] = torch.randn((HEADS, dim), generator=draw)
        made[f"{side}_weight"] = torch.randn((DIM, (HEADS + 1) * dim), generator=draw) * dim**-0.5
    return {name: value.requires_grad_(True) for name, value in made.items()}


def _padded(bags: Sequence[Floats]) -> tuple[Tensor, Tensor]:
    """[B, longest, D] and which rows are there, [B, longest]."""
    import torch

    longest = max(map(len, bags))
    out = np.zeros((len(bags), longest, bags[0].shape[1]), np.float32)
    there = np.zeros((len(bags), longest), bool)
    for i, bag in enumerate(bags):
        out[i, : len(bag)], there[i, : len(bag)] = bag, True
    return torch.from_numpy(out), torch.from_numpy(there)


def _embed(x: Tensor, there: Tensor, queries: Tensor, weight: Tensor) -> Tensor:
    """[B, N, D] → unit [B, E], as `SlideTextHead` does for one."""
    import torch

    scores = (queries @ x.mT).masked_fill(~there[:, None], float("-inf"))
    pooled = (scores.softmax(-1) @ x).flatten(1)
    mean = x.sum(1) / there.sum(1, keepdim=True)
    return torch.nn.functional.normalize(torch.cat([pooled, mean], 1) @ weight.T, dim=-1)


def _matched(logits: Tensor, same: Tensor) -> Tensor:
    """Both ways of asking; reports that state the same facts share the target."""
    target = same.float() / same.sum(1, keepdim=True)
    losses = [-(target * side.log_softmax(1)).sum(1).mean() for side in (logits, logits.T)]
    return (losses[0] + losses[1]) / 2


def scores(encoder: SlideEncoder, head: SlideTextHead, store: TileStore, *, n: int = 200) -> dict[str, Any]:
    """Retrieval over virtual slides of a test store, reports in the held-out wordings."""
    features = encoder.encode_tiles(np.stack([store.image(i) for i in range(len(store))]))
    shelf, said = Shelf(store), _Sentences(encoder)
    held_out = [i for i, w in enumerate(report_wordings()) if w["held_out"]]
    drawn = [draw_slide(-1 - i, shelf) for i in range(n)]
    slides = np.stack([head.slide(features[s.tiles]) for s in drawn])
    reports = np.stack(
        [head.report(said.of(s.report(held_out[i % len(held_out)]))) for i, s in enumerate(drawn)]
    )
    same = np.array([[a.facts == b.facts for b in drawn] for a in drawn])
    found = matched(slides @ reports.T, same, KS)
    return {"pool": n, **{name: round(score.value, 3) for name, score in found.items()}}
