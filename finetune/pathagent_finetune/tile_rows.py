"""A row about a tile (slots, caption, question and answer) as the examples that it holds.

Prompts come from `vlm.roles`, so a tuned model is asked in a run exactly as it was tuned.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pathagent_tools.core.protocols import ModelRequest
from pathagent_tools.core.vocabulary import NOT_ASSESSABLE, SLOTS
from pathagent_tools.vlm import roles

USED_COLUMNS = ("caption", "question", *SLOTS)
"""A table of tiles has at least one of these beside `image`."""

_ABSTAINS = {
    NOT_ASSESSABLE: roles.ANSWER_CLASSES[1],
    roles.ANSWER_CLASSES[1]: roles.ANSWER_CLASSES[1],
    roles.ANSWER_CLASSES[2]: roles.ANSWER_CLASSES[2],
}
"""Answers that say that there is none → the class of the answer."""
_NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


class RowError(ValueError):
    """A row that cannot become an example; `kind` is what is counted."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


Asked = tuple[ModelRequest, str]
"""A request of `vlm.roles` and the completion that it should get."""


def examples_of(row: Mapping[str, str], size_px: tuple[int, int], mpp: float) -> list[Asked]:
    """What a row asks: a description, a question, or both. `size_px` (width, height) at `mpp` µm/px.

    Raises RowError where a value is not in the vocabulary or nothing is said about the tile.
    """
    found = [_describe(row, size_px, mpp)] if row.get("caption") or any(row.get(s) for s in SLOTS) else []
    if row.get("question"):
        found.append(_answer(row, size_px, mpp))
    if not found:
        raise RowError("empty answer", f"nothing in {', '.join(c for c in USED_COLUMNS if c in row)}")
    return found


def _describe(row: Mapping[str, str], size_px: tuple[int, int], mpp: float) -> Asked:
    target = {slot: row[slot] for slot in SLOTS if row.get(slot)}
    for slot, value in target.items():
        if value not in SLOTS[slot]:
            close = difflib.get_close_matches(value, SLOTS[slot], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(SLOTS[slot])}"
            raise RowError("unknown slot value", f"{slot} {value!r}: {hint}")
    if row.get("caption"):
        target["sentence"] = row["caption"]
    return _asked(roles.describe(_NO_IMAGE, field_um=size_px[0] * mpp), target)


def _answer(row: Mapping[str, str], size_px: tuple[int, int], mpp: float) -> Asked:
    """The tile is the only look: nothing is known of it but what the image shows."""
    said = row.get("answer", "")
    if not said:
        raise RowError("empty answer", f"no answer to {row['question']!r}")
    abstains = _ABSTAINS.get(said)
    options = tuple(o.strip() for o in row.get("options", "").split(";") if o.strip())
    if options and said not in options and not abstains:
        raise RowError("answer is no option", f"{said!r} is none of {'; '.join(options)}")
    request = roles.answer(
        slides=roles.slide_text("S1", size_px[0] * size_px[1] * mpp**2 / 1e6, 1),
        differential="none",
        question=row["question"],
        ledger="E1 measured only (S1 centre)",
        ids=["E1"],
        options=options,
    )
    target = {
        "about": row["question"].rstrip("?")[:60],
        "seen": said[:120],
        "class": abstains or "answered",
        "answer": said,
        "cites": [] if abstains else ["E1"],
    }
    return _asked(request, target)


def _asked(request: ModelRequest, target: Mapping[str, object]) -> Asked:
    """RowError where a run's grammar would cut the text that is to be learned."""
    for key, value in target.items():
        limit = request.schema["properties"][key].get("maxLength")
        if limit is not None and len(str(value)) > limit:
            raise RowError("too long for the schema", f"{key} has {len(str(value))} letters, a run {limit}")
    return request, json.dumps(target, ensure_ascii=False)


def image_of(row: Mapping[str, str], folder: Path) -> Path:
    """The row's image, relative to the folder of its table. RowError where none is named."""
    if not row.get("image"):
        raise RowError("missing image", "no image is named")
    return folder / row["image"]
