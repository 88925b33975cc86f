"""A slide that is sent: kept where it is one, refused in words where it is not, and nothing left behind."""

import asyncio
import errno
from pathlib import Path

import pytest
from payloads import PATHS
from rooms import API, PASSWORD, opened_room, visitors
from sqlalchemy import event
from walking import send

from pathagent.output_folder import unwritable
from pathagent.reading_room import uploads
from pathagent.reading_room.disk import FULL, is_full
from pathagent.reading_room.line import _sentence
from pathagent.reading_room.tables import AuditRow
from pathagent.reading_room.users import add_user
from pathagent_tools.core.errors import UserError


@pytest.fixture
def sending(tmp_path, slide_folder):
    """(room, visitor, folder of uploads) of a server that takes slides up to 3 MB."""
    folder = tmp_path / "incoming"
    (folder / f"{uploads.STAGING}left").mkdir(parents=True)
    settings = {"uploads": folder, "max_upload": 3_000_000}
    with opened_room(tmp_path / "data", slide_folder, **settings) as room, visitors(room) as visit:
        with room.writing() as session:
            add_user(session, "anna", PASSWORD)
        yield room, visit("anna"), folder


def post(visitor, name, data):
    return visitor.post(f"{API}/slides", params={"name": name}, content=data)


def test_what_a_killed_server_left_is_gone(sending):
    assert list(sending[2].iterdir()) == []


def test_a_slide_is_kept_listed_and_may_be_opened(sending, lesion_slide):
    room, anna, folder = sending
    data = lesion_slide.read_bytes()
    said = post(anna, "Ünew slide.tiff", data)
    assert said.status_code == 201, said.text
    assert said.json()["name"] == "Ünew slide.tiff" and said.json()["folder"] == "incoming"
    assert (folder / "Ünew slide.tiff").read_bytes() == data
    assert [p.name for p in folder.iterdir()] == ["Ünew slide.tiff"]
    assert anna.open_case("Ünew slide.tiff")["slides"][0]["mpp"] == 0.5
    with room.database.reading() as session:
        link = session.query(AuditRow).where(AuditRow.action == "slide.uploaded").one()
    assert link.subject == said.json()["id"]
    again = post(anna, "Ünew slide.tiff", data)
    assert again.status_code == 422 and "lies there already" in again.json()["detail"]
    assert (folder / "Ünew slide.tiff").read_bytes() == data


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("notes.tiff", b"no slide", "text file, not a slide"),
        ("empty.svs", b"", "empty file"),
        ("half.tiff", None, "half.tiff"),
        ("report.pdf", b"%PDF", "does not end like a slide"),
        ("scan.mrxs", b"x", "does not end like a slide"),
        (".hidden.tiff", b"x", "plain name"),
    ],
)
def test_what_is_no_slide_is_refused_in_words_and_leaves_nothing(name, data, said, sending, lesion_slide):
    _, anna, folder = sending
    whole = lesion_slide.read_bytes()
    answer = post(anna, name, whole[: len(whole) // 3] if data is None else data)
    assert answer.status_code == 422 and said in answer.json()["detail"]
    assert str(folder) not in answer.text and uploads.STAGING not in answer.text
    assert list(folder.iterdir()) == []


def test_no_name_leads_out_of_the_folder(sending, lesion_slide):
    _, anna, folder = sending
    data = lesion_slide.read_bytes()[:64]
    for payload in PATHS[::25]:
        for name in (payload, f"{payload}.tiff", f"../{payload}.tiff"):
            assert post(anna, name, data).status_code == 422, name
    assert list(folder.iterdir()) == [] and not list(folder.parent.glob("*.tiff"))


def test_one_that_is_too_large_or_cut_off_leaves_nothing(sending, lesion_slide):
    _, anna, folder = sending
    too_large = post(anna, "large.tiff", b"x" * 3_000_001)
    assert too_large.status_code == 413 and "3,000,000 bytes" in too_large.text
    data = lesion_slide.read_bytes()
    target = f"{API}/slides?name=cut.tiff"
    status, said = asyncio.run(send(anna, "POST", target, data, length=len(data) + 1))
    assert status == 422 and b"cut off" in said
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(sending, lesion_slide, monkeypatch):
    _, anna, folder = sending
    true_open = Path.open

    def onto_a_full_disk(path, *args, **more):
        """Files of an upload go to the device that is always full."""
        return (
            true_open(Path("/dev/full"), "wb")
            if uploads.STAGING in str(path)
            else true_open(path, *args, **more)
        )

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", onto_a_full_disk)
        said = post(anna, "new.tiff", lesion_slide.read_bytes())
    assert said.status_code == 507 and said.json() == {"kind": "disk full", "detail": FULL}
    assert list(folder.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(uploads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
        assert post(anna, "new.tiff", lesion_slide.read_bytes()).status_code == 507
    assert post(anna, "new.tiff", lesion_slide.read_bytes()).status_code == 201


def test_a_server_without_a_folder_for_it_says_so(visit, lesion_slide):
    anna = visit("anna")
    said = post(anna, "new.tiff", lesion_slide.read_bytes())
    assert said.status_code in (413, 422) and anna.get(f"{API}/settings").json()["uploads"] is False
    small = post(anna, "new.tiff", b"x")
    assert small.status_code == 422 and "--uploads DIR" in small.json()["detail"]


def test_a_database_on_a_full_disk_is_said_and_the_case_stays_whole(waiting):
    room, visit, case = waiting
    anna = visit("anna")
    room.line.stop()
    before = anna.get(f"{API}/cases/{case}").json()
    engine = room.database.engine

    def no_larger(connection, _):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(engine, "connect", no_larger)
    engine.dispose()
    codes = []
    for number in range(40):
        said = anna.post(f"{API}/cases/{case}/questions", json={"question": f"{number} " + "tumour " * 250})
        codes.append(said.status_code)
        if said.status_code != 202:
            break
    assert codes[-1] == 507 and said.json()["detail"] == FULL
    event.remove(engine, "connect", no_larger)
    engine.dispose()
    after = anna.get(f"{API}/cases/{case}").json()
    assert after["review"] == before["review"] and len(after["runs"]) == len(codes)
    assert (
        anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"}).status_code == 202
    )


def test_a_run_on_a_full_disk_says_so_without_the_server_s_paths():
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(UserError) as caught:
        raise unwritable(Path("/srv/x"), full) from full
    cause = caught.value.__cause__
    assert is_full(cause) and _sentence(cause).startswith("The disk is full.")
