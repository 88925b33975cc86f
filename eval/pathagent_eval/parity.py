"""Does a vLLM server say what this process says? Recorded prompts, greedy, to both; and whole reports.

Where two answers part, the two likeliest tokens of this process stand beside them: a near tie is rounding,
anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

from pathagent_eval.recorded import Recorded, record, spread
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Completion, ModelRequest, Role, SlideEncoder, VisionLanguageModel
from pathagent_tools.core.records import Report
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.vlm.adapters import adapter_names
from pathagent_tools.vlm.grammar import Trace
from pathagent_tools.vlm.inprocess import TransformersVLM
from pathagent_tools.vlm.profile import Profile, open_vlm, served_name
from pathagent_tools.vlm.serving import running_server
from pathagent_tools.vlm.weights import weights_source

NEAR_TIE = 0.02
"""Two tokens whose probabilities differ by less are a near tie."""


class Difference(Frozen):
    """Two answers to one prompt, and where they part."""

    adapter: str
    role: str
    here: str
    served: str
    parts_after: str
    tokens_here: dict[str, float]

    @property
    def near_tie(self) -> bool:
        """Whether this process was as good as undecided where the answers part."""
        two = sorted(self.tokens_here.values(), reverse=True)[:2]
        return len(two) == 2 and two[0] - two[1] < NEAR_TIE


class TracedVLM(TransformersVLM):
    """The model in this process, with the steps of each answer kept by its prompt."""

    def __init__(self, model: str | Path, **options: Any) -> None:
        super().__init__(model, **options)
        self._traces: dict[tuple[str, str], tuple[list[str], Trace]] = {}

    def _completion(
        self, request: ModelRequest, trace: Trace, prompt: int, seconds: float, adapter: str | None
    ) -> Completion:
        done = super()._completion(request, trace, prompt, seconds, adapter)
        pieces = [self._text_of(step.token) for step in trace.steps]
        self._traces[request.role, done.text] = (pieces, trace)
        return done

    def tokens_at(self, role: str, text: str, place: int) -> dict[str, float]:
        """The likeliest tokens, with their probabilities, where `text` reaches character `place`."""
        pieces, trace = self._traces[role, text]
        length = 0
        for piece, step in zip(pieces, trace.steps, strict=True):
            length += len(piece)
            if length > place:
                best = sorted(step.alternatives.items(), key=lambda item: -item[1])[:3]
                return {self._text_of(token): round(p, 4) for token, p in best}
        return {}


def run(
    profile: Profile, seeds: Sequence[int], prompts: int, work: Path, *, log: Path, url: str | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(`table`, `reports_through`) of one small phantom a seed; a server is started where none is named."""
    here, encoder = traced(profile), load_encoder(profile.encoder)
    runs = record(seeds, here, encoder, work)
    with ExitStack() as stack:
        address = url or stack.enter_context(running_server(profile, log=log)).url
        served = open_vlm(profile, vlm_url=address)
        return table(profile, here, served, runs, prompts), reports_through(served, runs, encoder, work)


def summary(rows: Mapping[str, Mapping[str, Any]], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of the same JSON, every difference in one line, and how many reports end alike."""
    return {
        "prompts": {
            name: {k: row[k] for k in ("prompts", "same_json", "by_role")} for name, row in rows.items()
        },
        "different": [
            f"{d['role']} ({d['adapter']}) after {d['parts_after']!r}: here {d['tokens_here']}"
            for row in rows.values()
            for d in row["different"]
        ],
        "prompts_unlike": [text for row in rows.values() for text in row["prompts_unlike"]],
        "reports_with_the_same_diagnosis": f"{sum(r['same_diagnosis'] for r in reports)} of {len(reports)}",
        "reports_with_the_same_claims": f"{sum(r['same_claims'] for r in reports)} of {len(reports)}",
    }


def traced(profile: Profile) -> TracedVLM:
    """The profile's model in this process, as the graph opens it but for the traces."""
    spec = profile.vlm
    source = weights_source(spec)
    if source is None:
        raise UserError(f"The profile {profile.name} names no model that could run in this process.")
    return TracedVLM(
        source,
        revision=spec.revision,
        dtype=spec.dtype,
        adapters=spec.adapters,
        tile_px=spec.tile_px,
        tile_mpp=spec.tile_mpp,
        id=served_name(spec),
    )


def roles_of(profile: Profile) -> dict[str | None, list[Role]]:
    """Adapter (None: the base) → the roles that are asked of it."""
    names = adapter_names(profile.vlm.adapters)
    found: dict[str | None, list[Role]] = {}
    for role in get_args(Role):
        found.setdefault(names.get(role), []).append(role)
    return found


def compare(
    here: TracedVLM, served: VisionLanguageModel, asked: Sequence[ModelRequest]
) -> tuple[list[Difference], list[str]]:
    """(answers whose JSON differs, prompts that are not as long on both sides)."""
    different, unlike = [], []
    for request, a, b in zip(asked, here.generate(asked), served.generate(asked), strict=True):
        if a.prompt_tokens != b.prompt_tokens:
            unlike.append(f"{request.role}: {a.prompt_tokens} tokens here, {b.prompt_tokens} served")
        if a.data != b.data:
            common = _common(a.text, b.text)
            different.append(
                Difference(
                    adapter=a.adapter or "base",
                    role=request.role,
                    here=a.text,
                    served=b.text,
                    parts_after=common[-40:],
                    tokens_here=here.tokens_at(request.role, a.text, len(common)),
                )
            )
    return different, unlike


def _common(a: str, b: str) -> str:
    """The beginning that two texts share."""
    length = next((i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), None)
    return a[: min(len(a), len(b)) if length is None else length]


def table(
    profile: Profile, here: TracedVLM, served: VisionLanguageModel, runs: Sequence[Recorded], prompts: int
) -> dict[str, Any]:
    """`prompts` recorded prompts to the base and to each adapter, on both sides."""
    rows: dict[str, Any] = {}
    every = [request for run in runs for request in run.asked]
    for adapter, wanted in roles_of(profile).items():
        asked = spread(every, wanted, prompts)
        different, unlike = compare(here, served, asked)
        rows[adapter or "base"] = {
            "prompts": len(asked),
            "by_role": {role: n for role in wanted if (n := sum(r.role == role for r in asked))},
            "same_json": round(1 - len(different) / len(asked), 4) if asked else None,
            "prompts_unlike": unlike,
            "different": [d.model_dump() | {"near_tie": d.near_tie} for d in different],
        }
    return rows


def reports_through(
    served: VisionLanguageModel, runs: Sequence[Recorded], encoder: SlideEncoder, work: Path
) -> list[dict[str, Any]]:
    """The same slides drafted again with the server behind the graph, beside what this process drafted."""
    import pathagent

    rows = []
    for run in runs:
        again = pathagent.draft_report(run.slide, out=work / "again", force=True, vlm=served, encoder=encoder)
        rows.append(
            {
                "seed": run.seed,
                "here": _said(run.report),
                "served": _said(again),
                "same_diagnosis": _said(run.report) == _said(again),
                "same_claims": [c.text for c in run.report.claims] == [c.text for c in again.claims],
            }
        )
    return rows


def _said(report: Report) -> str:
    """`adenocarcinoma, grade 2`, or the outcome of a run that abstains."""
    drafted = report.outcome == "report" and report.differential
    return report.differential[0].text if drafted else report.outcome
