"""Review pairs: what a human's decision changed, kept in the case's folder for tuning.

`review/pairs.jsonl` only grows: a folder that is replaced hands its lines on, and a decision that is
written again after a crash is recognised. Only claims that a model wrote have a pair, and a rejected
draft has none, as nothing was said of its single sentences.
"""

from __future__ import annotations

import hmac
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pathagent.agents.writing import names, sentences_of
from pathagent.runs import cache_dir
from pathagent.state import ModelCall, State
from pathagent_tools.core.files import write_bytes_atomic, write_text_atomic
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Claim, Evidence
from pathagent_tools.core.review_pair import PAIRS_NAME, REVIEW_FOLDER, Asked, ReviewPair, ReviewVerdict

_KEY_BYTES = 32


def pairs_of(state: State, case: str) -> list[ReviewPair]:
    """The pairs of a decided draft, in the order of its claims; `case` is the key of the run."""
    decided = state.get("review")
    if decided is None or decided.decision == "reject":
        return []
    drafted = [c for c in state.get("drafted", []) if c.written_by == "model"]
    after = {c.id: c for c in state["claims"]}
    evidence, who = state.get("evidence", {}), reviewer_id(decided.reviewer)
    return [
        ReviewPair(
            case=case,
            slides=tuple(s.digest for s in state["slides"].values()),
            number=number,
            of=len(drafted),
            before=claim,
            after=_unsigned(claim, after.get(claim.id)),
            verdict=_verdict(claim, after.get(claim.id)),
            evidence=claim.evidence,
            regions=tuple(evidence[i].region for i in claim.evidence if i in evidence),
            who=who,
            when=state["decision_id"],
            sentences=_sentences(claim, state),
            written=_written(claim, state),
            checks=tuple(_checks(claim, state.get("calls", []), evidence)),
        )
        for number, claim in enumerate(drafted, start=1)
    ]


def _verdict(before: Claim, after: Claim | None) -> ReviewVerdict:
    if after is None:
        return "struck"
    return "accepted" if after.text == before.text else "edited"


def _unsigned(before: Claim, after: Claim | None) -> Claim | None:
    """The claim as it was left, its reason without the reviewer's name."""
    return after.model_copy(update={"reason": before.reason}) if after else None


def _call(key: str, state: State) -> ModelCall | None:
    return next((c for c in state.get("calls", []) if c.key == key and c.data is not None), None)


def _written(claim: Claim, state: State) -> Asked | None:
    call = _call("answer" if claim.section == "answer" else "write", state)
    return Asked(system=call.system, user=call.user, text=call.text) if call else None


def _sentences(claim: Claim, state: State) -> tuple[str, ...]:
    """A diagnosis stands for every sentence that names it, another claim for itself."""
    call = _call("write", state)
    if call is None or claim.section == "answer":
        return ()
    said = [text for text, _ in sentences_of(call)]
    if claim.section != "diagnosis":
        return tuple(text for text in said if text == claim.text)
    leading = state["differential"][0].diagnosis
    return tuple(text for text in said if names(text, leading))


def _checks(claim: Claim, calls: Sequence[ModelCall], evidence: Mapping[str, Evidence]) -> list[Asked]:
    start = f"verify {claim.id} by "
    looks = [(c, c.key.removeprefix(start)) for c in calls if c.key.startswith(start) and c.data is not None]
    return [
        Asked(
            system=call.system,
            user=call.user,
            text=call.text,
            look=look,
            pixels_sha256=evidence[look].pixels_sha256,
        )
        for call, look in looks
    ]


def reviewer_id(reviewer: str) -> str:
    """A random id that is always the same for that reviewer here; nobody without this machine's key can
    tell whose it is."""
    path = cache_dir() / "reviewers.key"
    if not path.is_file():
        write_bytes_atomic(path, secrets.token_bytes(_KEY_BYTES))
        path.chmod(0o600)
    return hmac.digest(path.read_bytes(), reviewer.encode(), "sha256").hex()[:32]


def write_pairs(folder: Path, held: Path, pairs: Sequence[ReviewPair], images: Mapping[str, Image]) -> None:
    """Put the pairs that `held` (the folder to be replaced) has, and then `pairs`, into `folder`.

    images: evidence id → the pixels that were looked at; those of the checks are kept beside the lines.
    """
    place, lines = folder / REVIEW_FOLDER, ""
    if (held / REVIEW_FOLDER / PAIRS_NAME).is_file():
        shutil.copytree(held / REVIEW_FOLDER, place)
        lines = (place / PAIRS_NAME).read_text(encoding="utf-8")
    new = [p for p in pairs if f'"when":"{p.when}"' not in lines]
    if not new:
        return
    for check in (c for p in new for c in p.checks):
        if check.look and check.image_name:
            _write_png(place / check.image_name, images[check.look])
    added = "".join(f"{p.model_dump_json()}\n" for p in new)
    write_text_atomic(place / PAIRS_NAME, lines + added)


def _write_png(path: Path, image: Image) -> None:
    from PIL import Image as Pillow

    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(image).save(path)
