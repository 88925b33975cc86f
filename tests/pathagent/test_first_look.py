"""The very first look: nothing else is measured until it has been, so that who waits sees it soon."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stand_ins import PROFILE, ColourEncoder, LookingModel

from pathagent.agents.description import description
from pathagent.open_slide import OpenSlide
from pathagent.resources import Resources
from pathagent.state import Case, Look, SlideInput
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Measurement
from pathagent_tools.vlm.profile import load_profile


def look(number: int) -> Look:
    region = Region(slide="S1", x=100 * number, y=100, width=96, height=96, mpp=1.0)
    return Look(id=f"E{number}", region=region, place="", reason="r", chosen_by="quota", reading="read")


def test_other_looks_wait_until_the_first_one_is_measured(
    lesion_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def measure(self: OpenSlide, region: Region, *, known: bool = False) -> tuple[Measurement, ...]:
        if region == look(1).region:
            begun.set()
            assert go_on.wait(30)
        ended.append(region)
        return ()

    monkeypatch.setattr(OpenSlide, "measure", measure)
    case = Case(slides=(SlideInput(id="S1", path=str(lesion_slide)),))
    given = {"given_vlm": LookingModel(), "given_encoder": ColourEncoder()}
    with (
        Resources(case=case, profile=load_profile(PROFILE), **given) as resources,  # type: ignore[arg-type]
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(description, resources, {"looks": (look(1),)})
        assert begun.wait(30)
        others = pool.submit(description, resources, {"looks": (look(2), look(3))})
        with pytest.raises(TimeoutError):
            others.result(0.5)
        assert ended == []
        go_on.set()
        assert [*first.result()["evidence"], *others.result()["evidence"]] == ["E1", "E2", "E3"]
    assert ended == [look(n).region for n in (1, 2, 3)]
