"""Synthetic reference images: shown apart, with their marks, and never given out without them."""

import json

import numpy as np
import pytest
from rooms import API
from tiny_slides import paint

from pathagent.reading_room import versions
from pathagent.reading_room.execution import Executor
from pathagent.reading_room.tables import CaseRow, RunRow
from pathagent_tools.core.records import Report
from pathagent_tools.generators.marking.verify import marks_of
from pathagent_tools.generators.marking.writing import Origin, write_synthetic


@pytest.fixture
def illustrated(waiting, tmp_path, monkeypatch):
    """(room, visit, case id, path of the marked file): the newest draft has an illustration."""
    monkeypatch.setenv("PATHAGENT_CERTIFICATES", str(tmp_path / "certificates"))
    room, visit, case = waiting
    with room.writing() as session:
        run = session.query(RunRow).where(RunRow.case_id == case).one()
        folder = room.case_folder(case) / "reports" / run.id
        origin = Origin(
            task="patches", title="What adenoma may look like", reason="the evidence did not decide",
            request={}, seed=1, generator="tiny", revision="1",
        )  # fmt: skip
        pixels = np.ascontiguousarray(paint(lesion=True, seed=3)[300:812, 300:812])
        image = write_synthetic(pixels, folder, "patches_1", origin, number=1)
        drafted = Report.model_validate(run.report)
        report = drafted.model_copy(update={"illustrations": (image,)})
        versions.add(room, session, run, report, author_id=None, edits={}, accepted=[])
    return room, visit, case, folder / "synthetic" / image.file


def test_the_marked_file_is_what_comes_and_it_lies_over_no_slide(illustrated):
    _, visit, case, path = illustrated
    anna = visit("anna")
    view = anna.get(f"{API}/cases/{case}").json()
    (image,) = view["review"]["report"]["illustrations"]
    said = anna.get(f"{API}/cases/{case}/synthetic/{image['id']}.png")
    assert said.status_code == 200 and said.headers["content-type"] == "image/png"
    assert said.content == path.read_bytes()
    marks = marks_of(said.content, "x.png")
    assert marks.synthetic and set(image["marks"]) >= {"band", "metadata"}
    assert image["id"] not in {e["id"] for e in view["evidence"]} and "region" not in image
    page = anna.get(f"{API}/cases/{case}/versions/2/report.html").text
    assert "not patient tissue, not evidence" in page and image["title"] in page
    regions = anna.get(f"{API}/cases/{case}/versions/2/report.geojson").json()
    assert image["title"] not in json.dumps(regions)


def test_a_file_whose_marks_were_taken_off_is_given_to_nobody(illustrated):
    from PIL import Image

    _, visit, case, path = illustrated
    anna, ben = visit("anna"), visit("ben")
    assert ben.get(f"{API}/cases/{case}/synthetic/G1.png").status_code == 404
    with Image.open(path) as picture:
        picture.crop((0, 24, picture.width, picture.height)).save(path)
    assert anna.get(f"{API}/cases/{case}/synthetic/G1.png").status_code == 404
    page = anna.get(f"{API}/cases/{case}/versions/2/report.html").text
    assert "What adenoma may look like" not in page
    assert anna.get(f"{API}/cases/{case}/synthetic/G2.png").status_code == 404


def test_drafts_of_a_case_illustrate_where_it_was_asked_for(visit, room):
    anna = visit("anna")
    room.line.stop()
    for wanted in (True, False):
        view = anna.open_case("plain.tiff", illustrate=wanted, draft=True)
        assert view["illustrate"] is wanted
        anna.post(f"{API}/cases/{view['id']}/questions", json={"question": "Is there tumour?"})
        with room.database.reading() as session:
            row = session.get_one(CaseRow, view["id"])
            runs = session.query(RunRow).where(RunRow.case_id == row.id).order_by(RunRow.number).all()
        made = [Executor(room)._case(run, row, None).illustrate for run in runs]
        assert made == [wanted, False]
