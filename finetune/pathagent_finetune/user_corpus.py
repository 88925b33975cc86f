"""A user's own tuning data: chat JSONL, a table of tiles, a folder of images, or reviewed reports.

Nothing is dropped in silence: what cannot be used is a Fault with its place, and `settle` turns faults
into one error, or into counts where the recipe says `skip_bad`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pathagent_finetune.data_rows import BROKEN, COLUMNS, Row, rows_of, split_of
from pathagent_finetune.review_rows import Line, decisions, examples_of_decision, is_pair, line_of
from pathagent_finetune.tile_rows import RowError, examples_of, image_of
from pathagent_finetune.tuning_example import IMAGE_MARK, Message, Split, TuningExample, messages_of, text_of
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file

log = logging.getLogger(__name__)

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """An example that cannot be used: the kind that is counted, where it stands, and what is wrong."""

    kind: str
    place: str
    detail: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of an image file without its pixels; `size_px` is (width, height)."""

    sha256: str
    size_px: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Examples with the images that they show, and what could not be used."""

    examples: tuple[TuningExample, ...]
    pictures: Mapping[Path, Picture]
    faults: tuple[Fault, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 over what is learned from (texts, image bytes, splits), wherever the files lie."""
        rows = [
            e.model_dump(mode="json", exclude={"images", "id"})
            | {"images": [self.pictures[image].sha256 for image in e.images]}
            for e in self.examples
        ]
        return sha256_bytes(canonical_json(rows).encode())

    def of(self, split: Split) -> list[TuningExample]:
        """The examples of one split."""
        return [e for e in self.examples if e.split == split]


def read_corpus(path: Path, *, mpp: float) -> Corpus:
    """Read a `.jsonl` or `.csv` file or a folder; `mpp` is that of tiles whose row names none.

    UserError where the path is none of these or no column can be used; single bad rows are faults.
    """
    reader = _Reader(mpp)
    for place, row, folder in rows_of(path):
        reader.take(place, row, folder)
    reader.end()
    return Corpus(tuple(reader.examples), reader.pictures, tuple(reader.faults))


def settle(corpus: Corpus, *, skip_bad: bool) -> tuple[Corpus, dict[str, int]]:
    """(the corpus without faults, skipped by kind). UserError unless `skip_bad`, and where none is left."""
    counts = dict(Counter(fault.kind for fault in corpus.faults))
    said = _counted(corpus.faults)
    if counts:
        sentence = fault_sentence(corpus.faults, len(corpus.examples) + len(corpus.faults), "examples")
        if not skip_bad:
            raise UserError(f"{sentence} Mend them, or set `skip_bad: true` in the recipe.")
        log.warning("%s They are skipped.", sentence)
    if not corpus.examples:
        raise UserError(
            f"No example is left to tune on{f' ({said})' if said else ''}: give --data with some."
        )
    return replace(corpus, faults=()), counts


def fault_sentence(faults: Sequence[Fault], total: int, noun: str) -> str:
    """`2 of 12 examples cannot be used (1 missing image, …); first t.csv:3: there is no 0.png.`"""
    first = "; ".join(f"{f.place}: {f.detail}" for f in faults[:_SHOWN])
    return f"{len(faults)} of {total} {noun} cannot be used ({_counted(faults)}); first {first}."


def _counted(faults: Sequence[Fault]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in Counter(f.kind for f in faults).items())


class _Reader:
    """Turns rows into examples or faults; each image file is read once."""

    def __init__(self, mpp: float) -> None:
        self._mpp = mpp
        self.examples: list[TuningExample] = []
        self.pictures: dict[Path, Picture] = {}
        self.faults: list[Fault] = []
        self._reviewed: list[Line] = []

    def take(self, place: str, row: Row, folder: Path) -> None:
        """Add the examples of a row, or its fault."""
        try:
            if BROKEN in row:
                raise RowError("broken line", str(row[BROKEN]))
            if is_pair(row):
                self._reviewed.append(line_of(place, row, folder))
            elif "messages" in row:
                self.examples += self._chat(place, row, folder)
            else:
                self.examples += self._tile(place, row, folder)
        except RowError as error:
            self.faults.append(Fault(error.kind, place, str(error)))

    def end(self) -> None:
        """Add the examples of reviewed reports, which are known when all their lines are read."""
        for lines in decisions(self._reviewed):
            for made in examples_of_decision(lines):
                if isinstance(made, RowError):
                    self.faults.append(Fault(made.kind, lines[0].place, str(made)))
                    continue
                try:
                    for image in made.images:
                        self._picture(image)
                    self.examples.append(made)
                except RowError as error:
                    self.faults.append(Fault(error.kind, made.id, str(error)))

    def _tile(self, place: str, row: Row, folder: Path) -> list[TuningExample]:
        named = {COLUMNS.get(key, key): value for key, value in row.items() if key is not None}
        words = {key: _words(key, value) for key, value in named.items() if value is not None}
        image = image_of(words, folder)
        picture = self._picture(image)
        found = []
        for request, completion in examples_of(words, picture.size_px, _mpp(words, self._mpp)):
            example = TuningExample(
                id=f"{words.get('id') or place}#{request.role}",
                patient=words.get("patient") or None,
                split=split_of(words),
                role=request.role,
                images=(image,),
                prompt=messages_of(request, 1),
                completion=completion,
            )
            found.append(_checked(example))
        return found

    def _chat(self, place: str, row: Row, folder: Path) -> list[TuningExample]:
        """One example for each turn of the assistant, with the conversation before it as the prompt."""
        turns, named = _turns(row["messages"])
        listed = row.get("images")
        images = tuple(folder / str(p) for p in (listed if isinstance(listed, list) else named))
        if images and not any(IMAGE_MARK in turn.content for turn in turns):
            first = next((i for i, t in enumerate(turns) if t.role == "user"), 0)
            marked = IMAGE_MARK * len(images) + turns[first].content
            turns[first] = turns[first].model_copy(update={"content": marked})
        if sum(turn.content.count(IMAGE_MARK) for turn in turns) != len(images):
            raise RowError("images and <image> marks differ", f"{len(images)} images")
        for image in images:
            self._picture(image)
        answers = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
        if not answers or answers[0] == 0:
            raise RowError("empty answer", "no assistant message after a user message")
        found = []
        for i in answers:
            if not turns[i].content.strip():
                raise RowError("empty answer", f"message {i + 1} is empty")
            marks = sum(turn.content.count(IMAGE_MARK) for turn in turns[:i])
            example = TuningExample(
                id=str(row.get("id") or place) + (f"#{i + 1}" if len(answers) > 1 else ""),
                patient=str(row["patient"]) if row.get("patient") else None,
                split=split_of(row),
                role=str(row.get("role") or "chat"),
                images=images[:marks],
                prompt=tuple(turns[:i]),
                completion=turns[i].content,
            )
            found.append(_checked(example))
        return found

    def _picture(self, path: Path) -> Picture:
        """Digest and size of an image that can be decoded to its end. RowError otherwise."""
        from PIL import Image, UnidentifiedImageError

        if path not in self.pictures:
            if not path.is_file():
                raise RowError("missing image", f"there is no {path.name}")
            try:
                with Image.open(path) as image:
                    image.load()
                    self.pictures[path] = Picture(sha256_file(path), image.size)
            except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
                raise RowError("unreadable image", f"{path.name}: {error}") from None
        return self.pictures[path]


def _words(column: str, value: Any) -> str:
    """A cell as one line; a file name is kept as it is, a list of options becomes `a; b`."""
    if column == "image":
        return str(value)
    return " ".join("; ".join(map(str, value)).split() if isinstance(value, list) else str(value).split())


def _turns(messages: Any) -> tuple[list[Message], list[str]]:
    turns, paths = [], []
    try:
        for message in messages:
            content, named = text_of(message["content"])
            turns.append(Message(role=message["role"], content=content))
            paths += named
    except (ValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise RowError("broken messages", f"{what}") from None
    return turns, paths


def _checked(example: TuningExample) -> TuningExample:
    if example.image_marks != len(example.images) or IMAGE_MARK in example.completion:
        raise RowError("images and <image> marks differ", f"{len(example.images)} images")
    return example


def _mpp(words: Mapping[str, str], default: float) -> float:
    try:
        mpp = float(words.get("mpp") or default)
    except ValueError:
        mpp = 0.0
    if not 0 < mpp < 1000:
        raise RowError("bad mpp", f"{words['mpp']!r} is no size of a pixel in µm")
    return mpp
