"""No answer of the API and no page says where on the server a slide or a case lies."""

from pathlib import Path

import pytest
from rooms import API, PASSWORD, opened_room, visitors
from stand_ins import LookingModel
from walking import addresses, filled, values_of

from pathagent.reading_room.naming import named, shortened
from pathagent.reading_room.users import add_user
from pathagent_tools.core.errors import UserError


@pytest.fixture
def shelf(tmp_path, slide_folder):
    """(room, anna, folder): slides that are damaged in several ways, in a folder with a blank in its name."""
    folder = tmp_path / "top secret" / "our slides"
    folder.mkdir(parents=True)
    whole = (slide_folder / "lesion.tiff").read_bytes()
    for name, data in {
        "half.tiff": whole[: len(whole) // 3],
        "empty.svs": b"",
        "text.tiff": b"no slide",
        "series.dcm": b"\0" * 128 + b"DICM" + b"\0" * 64,
        "noise.ndpi": bytes(range(256)) * 64,
        "lesion.tiff": whole,
    }.items():
        (folder / name).write_bytes(data)
    with opened_room(tmp_path / "data", folder) as room, visitors(room) as visit:
        with room.writing() as session:
            add_user(session, "anna", PASSWORD)
        yield room, visit("anna"), folder


def test_a_refusal_names_the_slide_and_no_folder(shelf):
    _, anna, _ = shelf
    for name, slide_id in anna.slides().items():
        said = [
            anna.post(f"{API}/cases", json={"slides": [slide_id]}),
            anna.get(f"{API}/slides/{slide_id}"),
            anna.get(f"{API}/slides/{slide_id}/thumbnail.jpeg"),
            anna.get(f"{API}/slides/{slide_id}/slide.dzi"),
        ]
        assert not any("top secret" in answer.text for answer in said), name
        if name != "lesion.tiff":
            assert said[0].status_code == 422 and name in said[0].json()["detail"]


def test_a_slide_that_breaks_under_its_case_is_named_on_the_page_and_in_the_run(shelf):
    room, anna, folder = shelf
    case = anna.open_case("lesion.tiff")["id"]
    room.library.close()
    (folder / "lesion.tiff").write_text("no slide any more")
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
    view = anna.settled(case)
    assert view["runs"][0]["reason"].startswith("lesion.tiff is a text file")
    assert (
        anna.get(f"{API}/cases/{case}")
        .json()["slides"][0]["problem"]
        .startswith("lesion.tiff is a text file")
    )
    assert "top secret" not in anna.get(f"{API}/cases/{case}").text


def test_what_a_run_says_of_the_servers_files_is_said_by_name(shelf):
    room, anna, folder = shelf

    def break_down(request):
        raise UserError(f"Cannot read {folder}/lesion.tiff, {room.settings.data}/cases: look at {folder}.")

    room.models._vlm = LookingModel(before=break_down)
    case = anna.open_case("lesion.tiff", draft=True)["id"]
    reason = anna.settled(case)["runs"][0]["reason"]
    assert reason == "Cannot read lesion.tiff, data/cases: look at its folder."


def test_no_address_of_a_drafted_case_tells_a_path(waiting, drafted):
    room, visit, case = waiting
    anna = visit("anna")
    places = [str(drafted[0]), str(room.settings.data), *map(str, room.library.folders)]
    values = values_of(anna.get(f"{API}/cases/{case}").json())
    told = [a for a in addresses(anna.app) if a.method == "GET" and not a.path.endswith("{case_id}/events")]
    for address in told:
        for kind in ("json", "html", "md", "geojson") if "{kind}" in address.path else ("",):
            said = anna.get(filled(address.path, values | {"kind": kind}))
            assert not any(place in said.text for place in places), address


def test_a_file_that_cannot_be_written_is_said_without_its_folder(waiting, monkeypatch):
    room, visit, case = waiting
    anna = visit("anna")
    folder = room.case_folder(case)
    (folder / "versions").write_text("in the way")
    said = anna.get(f"{API}/cases/{case}/versions/1/report.html")
    assert said.status_code == 422 and str(room.settings.data) not in said.text


def test_names():
    path = Path("/srv/a b/x.svs")
    assert (
        named("/srv/a b/x.svs is damaged. Try: ls /srv/a b", path) == "x.svs is damaged. Try: ls its folder"
    )
    assert named("/srv/a bc/x.svs stays", path) == "/srv/a bc/x.svs stays"
    assert named("/x.svs/or/y", Path("/x.svs")) == "x.svs/or/y"
    assert shortened("/srv/data/cases/1 and /srv/database", [Path("/srv/data")]) == (
        "data/cases/1 and /srv/database"
    )
