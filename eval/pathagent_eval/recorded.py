"""Prompts of real runs: whole reports of phantoms, drafted once with every question to the model kept.

A run asks its rarer questions a few times only. More of them are put to the ledger as it grew, and to what
it lacked then: what the differential is, whether the evidence is enough, the report's sentences; and the
phantom's own questions. They are worded by the functions that word them in a run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathagent_eval.reports import Planned, make_case
from pathagent_tools.core.protocols import Completion, ModelRequest, Role, VisionLanguageModel
from pathagent_tools.core.records import Report
from pathagent_tools.vlm import roles

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import SlideEncoder

FIRST_SEED = 86_000_000
"""Slides of the comparison of servers start here; no recipe draws seeds from this range."""


class Recorder:
    """A VLM that keeps what it was asked and what it answered."""

    def __init__(self, vlm: VisionLanguageModel) -> None:
        self.vlm = vlm
        self.id, self.revision = vlm.id, vlm.revision
        self.tile_px, self.tile_mpp = vlm.tile_px, vlm.tile_mpp
        self.kept: list[tuple[ModelRequest, Completion]] = []

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        """Answers of the model behind it."""
        answers = self.vlm.generate(requests)
        self.kept.extend(zip(requests, answers, strict=True))
        return answers


@dataclass
class Recorded:
    """One slide: the report that was drafted of it, and the questions that it gave rise to."""

    seed: int
    slide: Path
    report: Report
    asked: list[ModelRequest] = field(default_factory=list)


def record(
    seeds: Sequence[int], vlm: VisionLanguageModel, encoder: SlideEncoder, work: Path
) -> list[Recorded]:
    """Draft the report of one small phantom a seed with `vlm`; the slides stay in `work`."""
    import pathagent

    found = []
    for seed in seeds:
        planned = Planned(seed=seed, size="small", held_out_scanner=bool(seed % 2))
        slide, _, truth = make_case(planned, work / str(seed))
        recorder = Recorder(vlm)
        with tempfile.TemporaryDirectory(dir=work) as out:
            report = pathagent.draft_report(slide, out=out, force=True, vlm=recorder, encoder=encoder)
        asked = [request for request, _ in recorder.kept]
        found.append(Recorded(seed, slide, report, [*asked, *_more(report, asked, truth.questions)]))
    return found


def _more(
    report: Report, asked: Sequence[ModelRequest], questions: Sequence[dict[str, Any]]
) -> list[ModelRequest]:
    """Ledgers of the first and of the last looks, and the slide's questions; none without a look."""
    looked = [e for e in report.evidence if e.findings]
    if not looked:
        return []
    slides = "\n".join(roles.slide_text(s.id, s.tissue_mm2, s.pieces) for s in report.slides)
    belief = roles.differential_text(report.differential)
    leading = roles.differential_text(report.differential[:1])
    more = []
    for cut in range(1, len(looked) + 1):
        for part in (looked[:cut], looked[cut:]):
            ledger, ids = roles.ledger_text(part), [e.id for e in roles.telling(part)]
            more += [roles.diagnose(slides, ledger), roles.judge("Draft a report.", leading, ledger)]
            more += [roles.write(slides, belief, ledger, ids)] if part else []
    ledger, ids = roles.ledger_text(looked), [e.id for e in roles.telling(looked)]
    more += [roles.answer(slides, belief, q["text"], ledger, ids, options=q["options"]) for q in questions]
    known = {request.user for request in asked}
    return [request for request in more if request.user not in known]


def spread(requests: Sequence[ModelRequest], wanted: Sequence[Role], count: int) -> list[ModelRequest]:
    """Up to `count` requests of the wanted roles, an equal share of each as far as there are so many."""
    by_role = [[r for r in requests if r.role == role] for role in wanted]
    turns = [r for row in zip_longest(*by_role) for r in row if r is not None]
    return turns[:count]
