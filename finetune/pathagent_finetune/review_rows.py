"""Review pairs as examples: what the model was asked in the run, answered as the human left it.

A decision on a draft gives one `write` example, the report's sentences as they were accepted, edited or
struck, and `verify` examples, the claims beside the looks that were shown. What nobody stood behind (a
sentence that the run itself marked as unsupported and that nobody edited) is not learned.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ValidationError

from pathagent_finetune.data_rows import Row, split_of
from pathagent_finetune.groups import together
from pathagent_finetune.tile_rows import RowError
from pathagent_finetune.tuning_example import IMAGE_MARK, Message, TuningExample
from pathagent_tools.core.records import Claim
from pathagent_tools.core.review_pair import Asked, ReviewPair
from pathagent_tools.vlm.roles import one_line

MAX_CITES, MAX_SENTENCE, MAX_SEEN = 4, 240, 80
"""Bounds of the schemas of `write` and `verify` (letters, ids)."""
NOTHING = "none"
"""What a look shows of a claim that it does not show, in the words of the embedded model's training."""
_ID = re.compile(r"\bE[1-9][0-9]*\b")

Made = TuningExample | RowError


@dataclass(frozen=True, slots=True)
class Line:
    """A pair with the place of its line and the folder that holds the pixels."""

    place: str
    pair: ReviewPair
    folder: Path


def is_pair(row: Row) -> bool:
    """Whether a row of a JSONL file is a review pair."""
    return "before" in row and "verdict" in row


def line_of(place: str, row: Row, folder: Path) -> Line:
    """The line as a record. RowError where it is broken or contradicts itself."""
    try:
        pair = ReviewPair.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RowError("broken review pair", f"{where} {first['msg']}") from None
    split_of(row)
    before, after = pair.before.text, pair.after.text if pair.after else None
    if pair.verdict != ("struck" if after is None else "accepted" if after == before else "edited"):
        raise RowError("broken review pair", f"{pair.verdict} does not fit what became of the claim")
    return Line(place, pair, folder)


def decisions(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """The lines of each decision in their order; its patient is filled in from all that share a slide."""
    keys = [[f"slide {d}" for d in line.pair.slides] for line in lines]
    named = [[f"patient {line.pair.patient}"] if line.pair.patient else [] for line in lines]
    labels = together([a + b for a, b in zip(keys, named, strict=True)])
    found: dict[tuple[str, str], list[Line]] = {}
    for line, label in zip(lines, labels, strict=True):
        pair = line.pair.model_copy(update={"patient": label})
        found.setdefault((pair.case, pair.when), []).append(Line(line.place, pair, line.folder))
    for group in found.values():
        yield sorted(group, key=lambda line: line.pair.number)


def examples_of_decision(lines: Sequence[Line]) -> Iterator[Made]:
    """The `write` example, then the `verify` examples; what cannot be used is its RowError."""
    numbers = [line.pair.number for line in lines]
    if numbers != list(range(1, lines[0].pair.of + 1)):
        yield RowError("review not whole", f"lines {numbers} of {lines[0].pair.of}")
        return
    try:
        if any(line.pair.before.section != "answer" for line in lines):
            yield _write(lines)
    except RowError as error:
        yield error
    for line in lines:
        for check in line.pair.checks:
            try:
                yield from _verify(line, check)
            except RowError as error:
                yield error


def _write(lines: Sequence[Line]) -> TuningExample:
    pairs = [line.pair for line in lines if line.pair.before.section != "answer"]
    asked = next((p.written for p in pairs if p.written), None)
    if asked is None:
        raise RowError("no prompt", "the run kept no question that wrote these claims")
    listed, made, placed = set(_ID.findall(asked.user)), list[dict[str, Any]](), set[int]()
    for wrote in _wrote(asked):
        pair = next((p for p in pairs if wrote.text in p.sentences), None)
        if pair is None or (pair.number in placed and pair.verdict == "edited"):
            continue
        placed.add(pair.number)
        if pair.after is not None and _stands(pair):
            text = pair.after.text if pair.verdict == "edited" else wrote.text
            made.append(_sentence(text, pair.after, wrote.cites, listed))
    for pair in pairs:  # a diagnosis of which the model's report had no sentence, until a human wrote one
        if pair.number not in placed and pair.after is not None and pair.verdict == "edited":
            made.insert(0, _sentence(pair.after.text, pair.after, (), listed))
    if not made:
        raise RowError("no sentence left", "every sentence was struck or unsupported")
    return _example(lines[0], "write", "write", asked, {"sentences": made})


def _stands(pair: ReviewPair) -> bool:
    """Whether somebody stands behind the claim: the human's own words, or the run with looks to show."""
    return pair.verdict == "edited" or pair.before.verdict == "supported"


def _sentence(text: str, after: Claim, own: Sequence[str], listed: set[str]) -> dict[str, Any]:
    """The looks are those that the reviewed claim cites, as far as the prompt lists them."""
    if len(text) > MAX_SENTENCE:
        raise RowError("too long for the schema", f"a sentence of {len(text)} letters, a run {MAX_SENTENCE}")
    shown = [i for i in after.evidence if i in listed]
    cites = [i for i in own if i in shown] or shown or [i for i in own if i in listed]
    return {"text": text, "cites": cites[:MAX_CITES]}


class _Wrote(BaseModel):
    """A sentence of the model's own answer."""

    text: Annotated[str, AfterValidator(lambda text: " ".join(text.split()))]
    cites: tuple[str, ...]


def _wrote(asked: Asked) -> list[_Wrote]:
    try:
        return [_Wrote.model_validate(item) for item in _data(asked).get("sentences", [])]
    except (ValidationError, TypeError) as error:
        raise RowError("broken completion", f"no sentences: {error}".splitlines()[0]) from None


def _verify(line: Line, check: Asked) -> Iterator[TuningExample]:
    """One claim beside one look: as accepted, as struck, or in the human's words."""
    pair, data = line.pair, _data(check)
    supported = check.look in pair.before.evidence and pair.before.verdict == "supported"
    user = check.user
    if pair.verdict == "struck":
        data = data | {"seen": NOTHING, "verdict": "unsupported"} if _agrees(data) else data
    elif pair.verdict == "edited" and pair.after is not None:
        if check.look not in pair.after.evidence:
            return
        user, words = _reworded(user, pair.before.text, pair.after.text), _short(pair.after.text)
        data = {"said": words, "seen": words, "verdict": "supported"}
    elif supported:
        data = data | {"verdict": "supported"}
    elif pair.before.verdict == "not assessable" or _agrees(data):
        return
    yield _example(line, "verify", f"verify {check.look}", check.model_copy(update={"user": user}), data)


def _agrees(data: dict[str, Any]) -> bool:
    """Whether a check found support: it said so, or named the same as said and as seen."""
    said, seen = (str(data.get(key, "")).strip().casefold() for key in ("said", "seen"))
    return data.get("verdict") == "supported" or bool(seen and seen in (said, *said.split(", ")))


def _reworded(user: str, before: str, after: str) -> str:
    """The prompt with the human's claim in the place of the model's, which its first line ends with."""
    head, line, rest = user.partition("\n")
    at = head.rfind(one_line(before))
    if at < 0:
        raise RowError("no prompt", "the question that was kept does not hold the claim")
    return f"{head[:at]}{one_line(after)}{line}{rest}"


def _short(text: str) -> str:
    words = " ".join(text.split()).rstrip(".")
    return words if len(words) <= MAX_SEEN else words[:MAX_SEEN].rsplit(" ", 1)[0]


def _data(asked: Asked) -> dict[str, Any]:
    if not asked.user:
        raise RowError("no prompt", "the run that was reviewed kept no prompts: draft and review it again")
    try:
        data = json.loads(asked.text)
    except json.JSONDecodeError as error:
        raise RowError("broken completion", f"not JSON: {error.msg}") from None
    if not isinstance(data, dict):
        raise RowError("broken completion", "not an answer of the role's schema")
    return data


def _example(line: Line, role: str, name: str, asked: Asked, data: dict[str, Any]) -> TuningExample:
    """Asked as in the run: system, the pixels (checked against the digest of what was seen), the text."""
    images = (line.folder / asked.image_name,) if asked.image_name else ()
    for image in images:
        _same_pixels(image, asked.pixels_sha256)
    return TuningExample(
        id=f"{line.place}#{name}",
        patient=line.pair.patient,
        split=split_of({"split": line.pair.split}),
        role=role,
        images=images,
        prompt=(
            Message(role="system", content=asked.system),
            Message(role="user", content=IMAGE_MARK * len(images) + asked.user),
        ),
        completion=json.dumps(data, ensure_ascii=False),
    )


def _same_pixels(path: Path, sha256: str | None) -> None:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise RowError("missing image", f"there is no {path.name}")
    try:
        with Image.open(path) as image:
            pixels = image.convert("RGB").tobytes()
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise RowError("unreadable image", f"{path.name}: {error}") from None
    if hashlib.sha256(pixels).hexdigest() != sha256:
        raise RowError("other image", f"{path.name} is not what the model saw in the run")
