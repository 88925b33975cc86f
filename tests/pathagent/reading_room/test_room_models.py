"""The models of a reading room: loaded before anybody asks, and once for all runs."""

from pathlib import Path

import pytest

from pathagent.reading_room.models import Models
from pathagent.reading_room.settings import RoomSettings
from pathagent.state import Case, SlideInput
from pathagent_tools.measure.cell_model import CellModel


def test_what_counts_cells_is_loaded_when_the_room_warms_up_and_by_no_run(
    tmp_path: Path, lesion_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(RoomSettings(data=tmp_path, folders=(lesion_slide.parent,), profile="embedded"))
    models.warm()

    def load(kind: type[CellModel], folder: Path) -> None:
        raise AssertionError(f"{kind.what} is loaded again from {folder}")

    monkeypatch.setattr(CellModel, "load", classmethod(load))
    case = Case(slides=(SlideInput(id="S1", path=str(lesion_slide)),))
    one, another = models.resources(case), models.resources(case)
    assert one.mitosis_detector is another.mitosis_detector is not None
    assert one.lymphocyte_counter is another.lymphocyte_counter is not None
