"""The server of `pathagent serve` in a process of its own, with the tiny models of the tests.

Arguments: data folder, folder of slides, port, how long each answer of the model takes in seconds,
`undecided` for a model that never has enough (the embedded encoder and generator stand beside it then, and
synthetic images are drawn) or nothing, and the URL of a database or nothing. A folder `criteria` beside the
data is what drafts are compared with. Prints the address.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from stand_ins import PROFILE, ColourEncoder, LookingModel

from pathagent.reading_room.models import Models
from pathagent.reading_room.serve import serve_room
from pathagent.reading_room.settings import RoomSettings
from pathagent_tools.core.errors import ModelUnavailableError
from pathagent_tools.core.protocols import ModelRequest

GONE = "with the server gone"
"""Whoever asks with these words finds that the model's server went away."""


def main(data: str, slides: str, port: str, pause: str, kind: str = "", database: str = "") -> None:
    uploads = Path(data).parent / "incoming"
    uploads.mkdir(parents=True, exist_ok=True)
    criteria, undecided = uploads.with_name("criteria"), kind == "undecided"
    settings = RoomSettings(
        data=Path(data),
        folders=(Path(slides),),
        uploads=uploads,
        port=int(port),
        profile="embedded" if undecided else PROFILE,
        database=database or None,
        knowledge=criteria if criteria.is_dir() else None,
    )

    def before(request: ModelRequest) -> None:
        time.sleep(float(pause))
        if GONE in request.user:
            raise ModelUnavailableError("The model server at http://127.0.0.1:1 went away.")

    model = LookingModel(before=before)
    if undecided:
        model = LookingModel(before=before, sufficient_after=99, dark=256, percent=20)
    models = Models(settings, vlm=model, encoder=None if undecided else ColourEncoder())
    serve_room(
        settings,
        say=lambda text: print(text, file=sys.stderr, flush=True),
        emit=lambda text: print(text, flush=True),
        models=models,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
