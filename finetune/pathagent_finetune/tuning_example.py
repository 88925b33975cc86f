"""One example of a user's tuning data: a chat prompt with images and the completion it should get.

Every format that is read becomes this record, and the chat JSONL that other trainers read is written
from it. It knows no tokenizer and no model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pathagent_finetune.corpus.example import Example
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import ModelRequest

IMAGE_MARK = "<image>"
"""Stands in a message where an image is shown, as in the chat files of the common trainers."""

Split = Literal["train", "validation", "test"]


class Message(Frozen):
    """One turn; each `<image>` in it is the place of the next image."""

    role: Literal["system", "user", "assistant"]
    content: str

    def parts(self) -> list[dict[str, str]]:
        """The content as chat templates take it: text parts, and a part for each image."""
        parts: list[dict[str, str]] = []
        for i, text in enumerate(self.content.split(IMAGE_MARK)):
            if i:
                parts.append({"type": "image"})
            if text:
                parts.append({"type": "text", "text": text})
        return parts


class TuningExample(Frozen):
    """What a model is shown and what it should write. `id` says where the example comes from."""

    id: str
    patient: str | None = None
    split: Split | None = Field(default=None, description="None until it is drawn")
    role: str = Field(description="`describe`, `answer`, … or `chat` for free conversations")
    images: tuple[Path, ...] = ()
    prompt: tuple[Message, ...] = Field(min_length=1)
    completion: str = Field(min_length=1)

    @property
    def image_marks(self) -> int:
        """Images that the prompt has places for."""
        return sum(message.content.count(IMAGE_MARK) for message in self.prompt)


def messages_of(request: ModelRequest, images: int) -> tuple[Message, ...]:
    """The prompt of a request of `vlm.roles`, its images before the text, as in a run."""
    return (
        Message(role="system", content=request.system),
        Message(role="user", content=IMAGE_MARK * images + request.user),
    )


def from_phantom(
    example: Example, id: str, *, image: Path | None = None, split: Split | None = None
) -> TuningExample:
    """An example of the phantom corpus as a record; `image` is the file that shows its tile."""
    images = (image,) if image else ()
    return TuningExample(
        id=id,
        split=split,
        role=example.request.role,
        images=images,
        prompt=messages_of(example.request, len(images)),
        completion=example.target_text,
    )


def write_chat_jsonl(examples: Iterable[TuningExample], path: Path) -> None:
    """Write `{"messages": […], "images": […], …}` lines; image paths are relative to the file's folder."""
    rows = (json.dumps(_row(example, path.parent), ensure_ascii=False) for example in examples)
    write_text_atomic(path, "".join(f"{row}\n" for row in rows))


def _row(example: TuningExample, folder: Path) -> dict[str, Any]:
    turns = [*example.prompt, Message(role="assistant", content=example.completion)]
    named = {"id": example.id, "patient": example.patient, "split": example.split, "role": example.role}
    return {key: value for key, value in named.items() if value is not None} | {
        "messages": [turn.model_dump() for turn in turns],
        "images": [Path(os.path.relpath(image, folder)).as_posix() for image in example.images],
    }


def text_of(content: str | Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """(content with `<image>` marks, paths of the images that its parts name). ValueError on other parts."""
    if isinstance(content, str):
        return content, []
    text, paths = "", []
    for part in content:
        kind = part.get("type")
        if kind == "text":
            text += str(part.get("text", ""))
        elif kind == "image":
            text += IMAGE_MARK
            paths += [str(part[key]) for key in ("image", "path") if part.get(key)][:1]
        else:
            raise ValueError(f"a part of type {kind!r}")
    return text, paths
