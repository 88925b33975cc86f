"""What a task drew becomes marked files: one sheet, single images where they are large, and the vetting."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import Field

from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.synthetic import ReadBack, SyntheticImage
from pathagent_tools.generators.marking.writing import FOLDER, MIN_SIDE, Origin, write_synthetic
from pathagent_tools.generators.sheet import contact_sheet
from pathagent_tools.generators.studio import Drawn, Studio
from pathagent_tools.generators.usefulness import class_of
from pathagent_tools.generators.vetting import Vetting, vet

RECORD: Final = "synthetic.json"


class Published(Frozen):
    """The marked files of one task and the vetting of its set."""

    task: str
    title: str
    images: tuple[SyntheticImage, ...]
    vetting: Vetting
    numbers: dict[str, Any] = Field(default={})


def publish(
    studio: Studio, drawn: Drawn, folder: Path, *, reason: str = "asked for by the user", number: int = 1
) -> Published:
    """Write `folder/synthetic/…png` and `synthetic.json`. Images of 256 px or more also leave alone.

    UserError where an image is too plain to hold its watermark; then nothing is written.
    """
    named = any(class_of(words) is not None for words in drawn.words)
    encoder = studio.encoder if named and not drawn.classical else None
    vetting = vet(drawn, None if drawn.classical else studio.generator, encoder)
    origin = Origin(
        task=drawn.task, title=drawn.title, reason=reason, request=drawn.request, seed=drawn.seed,
        generator=drawn.classical or studio.generator.id,
        revision="" if drawn.classical else studio.generator.revision,
    )  # fmt: skip
    synthetic = drawn.synthetic or (True,) * len(drawn.images)
    found = drawn.read_back or ((),) * len(drawn.images)
    everything: tuple[ReadBack, ...] = tuple(claim for claims in found for claim in claims)
    sheet = contact_sheet(drawn.images, drawn.captions, columns=drawn.columns)
    written = [
        write_synthetic(sheet, folder, f"{drawn.task}_{number}", origin, number=number, read_back=everything)
    ]
    for i, image in enumerate(drawn.images):
        if synthetic[i] and min(image.shape[:2]) >= MIN_SIDE:
            written.append(
                write_synthetic(
                    image, folder, f"{drawn.task}_{number}_{i + 1}", origin,
                    number=number + len(written), read_back=found[i],
                )
            )  # fmt: skip
    published = Published(
        task=drawn.task, title=drawn.title, images=tuple(written), vetting=vetting, numbers=drawn.numbers
    )
    write_text_atomic(folder / FOLDER / RECORD, published.model_dump_json(indent=2) + "\n")
    return published
