"""The server of `pathagent serve` in a process of its own, with the tiny models of the tests.

Arguments: data folder, folder of slides, port, and how long each answer of the model takes in seconds.
Prints the address.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from stand_ins import PROFILE, ColourEncoder, LookingModel

from pathagent.reading_room.models import Models
from pathagent.reading_room.serve import serve_room
from pathagent.reading_room.settings import RoomSettings


def main(data: str, slides: str, port: str, pause: str) -> None:
    settings = RoomSettings(data=Path(data), folders=(Path(slides),), port=int(port), profile=PROFILE)
    model = LookingModel(before=lambda request: time.sleep(float(pause)))
    models = Models(settings, vlm=model, encoder=ColourEncoder())
    serve_room(
        settings,
        say=lambda text: print(text, file=sys.stderr, flush=True),
        emit=lambda text: print(text, flush=True),
        models=models,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
