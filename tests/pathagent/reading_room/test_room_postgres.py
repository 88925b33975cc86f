"""The same room on PostgreSQL: a case from its draft to its decision, what only grows, and checkpoints."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rooms import API, PASSWORD, opened_room, visitors
from serving import events_of, looked, served, wait_for
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from stand_ins import LookingModel, gone_after

from pathagent import cli
from pathagent.reading_room import audit
from pathagent.reading_room.database import Database
from pathagent.reading_room.tables import APPEND_ONLY, EventRow
from pathagent.reading_room.users import add_user
from pathagent_tools.core.protocols import ModelRequest


def _binary(name: str) -> str | None:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(places[0]) if places else shutil.which(name)


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of this test's own, on a socket in an empty folder."""
    initdb, control = _binary("initdb"), _binary("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("no PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="pathagent-pg-"))
    who: dict[str, str] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "nobody")
        who = {"user": "nobody"}
    common = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **who}
    data = str(folder / "data")
    subprocess.run([initdb, "-D", data, "-U", "tester", "--auth=trust", "-N"], **common)
    options = f"-c listen_addresses='' -c fsync=off -k {folder}"
    subprocess.run([control, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"], **common)
    yield f"postgresql:///postgres?host={folder}&user=tester"
    subprocess.run([control, "-D", data, "-m", "immediate", "stop"], **common)
    shutil.rmtree(folder)


def checkpoint_rows(url: str) -> dict[str, int]:
    """How many rows the tables of the checkpoints hold."""
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    database = Database(url)
    with database.reading() as session:
        found = {name: session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in tables}
    database.close()
    return found


def events_in(room, case: str) -> list[EventRow]:
    """What has happened in a case."""
    with room.database.reading() as session:
        return list(session.scalars(select(EventRow).where(EventRow.case_id == case)))


def test_a_case_from_draft_to_decision_on_postgresql(postgres, tmp_path, slide_folder):
    with opened_room(tmp_path / "data", slide_folder, database=postgres) as room:
        with room.writing() as session:
            add_user(session, "anna", PASSWORD)
        with visitors(room) as visit:
            anna = visit("anna")
            case = anna.open_case("lesion.tiff", draft=True)["id"]
            view = anna.settled(case)
            claim = view["review"]["machine"][0]["id"]
            body = {"base": 1, "edits": {claim: "Carcinoma."}}
            assert anna.post(f"{API}/cases/{case}/versions", json=body).status_code == 201
            decision = {"base": 2, "decision": "approve"}
            assert anna.post(f"{API}/cases/{case}/decision", json=decision).status_code == 202
            assert anna.settled(case)["state"] == "reviewed"
            for table in APPEND_ONLY:
                with pytest.raises(DBAPIError, match="only grows"), room.database.writing() as session:
                    session.execute(text(f"DELETE FROM {table}"))
            with room.database.reading() as session:
                assert list(audit.faults(session, room.settings.data)) == []
                assert audit.length(session)[0] > 5
    assert not (tmp_path / "data" / "reading-room.sqlite").exists()


def test_a_killed_server_goes_on_from_postgresql_on_another_disk(
    postgres, slide_folder, tmp_path, lesion_report
):
    with served(tmp_path / "one", slide_folder, tmp_path / "cache", pause=0.15, database=postgres) as first:
        reader = first.reader()
        ids = {s["name"]: s["id"] for s in reader.get(f"{API}/slides").json()}
        case = reader.post(f"{API}/cases", json={"slides": [ids["lesion.tiff"]], "draft": True}).json()["id"]
        wait_for(reader, case, lambda view: len(looked(reader, case)) >= 2)
        first.kill()
    assert all(checkpoint_rows(postgres).values())

    with served(tmp_path / "two", slide_folder, tmp_path / "cold", database=postgres) as second:
        reader = second.reader()
        view = wait_for(reader, case, lambda view: view["state"] == "waiting for review")
        assert view["review"]["report"]["claims"] == lesion_report.model_dump(mode="json")["claims"]
        events = events_of(reader, case)
        assert [e["state"] for e in events if e["kind"] == "run_state"][-3:] == [
            "queued",
            "running",
            "waiting",
        ]
        done = [(e["node"], e["key"]) for e in events if e["kind"] == "node_finished"]
        assert done.count(("triage", "round 0")) == 1
        assert len(done) == len(set(done))
        reader.post(f"{API}/cases/{case}/decision", json={"base": 1, "decision": "approve"})
        wait_for(reader, case, lambda view: view["state"] == "reviewed")
    assert not any(checkpoint_rows(postgres).values())
    assert not list(tmp_path.rglob("checkpoint.sqlite*"))


def test_cases_of_the_same_slide_have_checkpoints_of_their_own(postgres, tmp_path, slide_folder):
    with opened_room(tmp_path / "data", slide_folder, database=postgres) as room, visitors(room) as visit:
        reader = visit("local")
        cases = [reader.open_case("lesion.tiff", draft=True)["id"] for _ in range(2)]
        for case in cases:
            looks = reader.settled(case)["evidence"]
            assert len([e for e in events_in(room, case) if e.kind == "looked"]) == len(looks) > 0
        for left, case in enumerate(cases):
            decision = {"base": 1, "decision": "reject"}
            assert reader.post(f"{API}/cases/{case}/decision", json=decision).status_code == 202
            assert reader.settled(case)["state"] == "rejected"
            assert any(checkpoint_rows(postgres).values()) == (left == 0)


def test_a_run_that_begins_anew_leaves_nothing_of_its_first_start(postgres, tmp_path, slide_folder):
    model = LookingModel(before=gone_after(3))
    with (
        opened_room(tmp_path / "data", slide_folder, model, database=postgres) as room,
        visitors(room) as visit,
    ):
        reader = visit("local")
        case = reader.open_case("lesion.tiff")["id"]
        asked = {"question": "Is there tumour?"}
        first = reader.post(f"{API}/cases/{case}/questions", json=asked).json()["id"]
        assert reader.settled(case)["runs"][0]["state"] == "paused"
        assert any(checkpoint_rows(postgres).values())
        room.models._vlm = LookingModel()
        reader.post(f"{API}/cases/{case}/questions", json={"question": "Is there necrosis?"})
        assert reader.settled(case)["runs"][1]["state"] == "done"
        reader.post(f"{API}/cases/{case}/runs/{first}/resume")
        assert reader.settled(case)["runs"][0]["state"] == "done"
    assert not any(checkpoint_rows(postgres).values())


def test_a_database_that_restarts_under_a_run_is_said_and_the_run_goes_on(postgres, tmp_path, slide_folder):
    seen, done = [], threading.Event()

    def cut_off(request: ModelRequest) -> None:
        """At the fourth answer, every other connection to the database is ended."""
        seen.append(request.role)
        if len(seen) == 4:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            database = Database(postgres)
            with database.reading() as session:
                session.execute(text(f"{others} AND datname = 'postgres'"))
            database.close()
            done.set()

    model = LookingModel(before=cut_off)
    with (
        opened_room(tmp_path / "data", slide_folder, model, database=postgres) as room,
        visitors(room) as visit,
    ):
        reader = visit("local")
        case = reader.open_case("lesion.tiff", draft=True)["id"]
        assert done.wait(60)  # nobody asks meanwhile: a request of that moment would fail, too
        run = reader.settled(case)["runs"][0]
        assert run["state"] == "failed"
        assert run["reason"].startswith("The database failed: ")
        assert run["reason"].endswith("Start this again: it goes on where it stopped.")
        reader.post(f"{API}/cases/{case}/runs/{run['id']}/resume")
        assert reader.settled(case)["state"] == "waiting for review"
        nodes = [e.body["node"] for e in events_in(room, case) if e.kind == "node_finished"]
        assert nodes.count("triage") == 1


def test_without_its_package_the_command_to_type_is_said(
    postgres, tmp_path, slide_folder, monkeypatch, capsys
):
    monkeypatch.delitem(sys.modules, "pathagent.checkpoint_tables", raising=False)
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.postgres", None)
    data, folder = str(tmp_path / "data"), str(slide_folder)
    assert cli.run(["serve", "--folder", folder, "--data", data, "--port", "0", "--database", postgres]) == 2
    assert "Type: uv sync --extra postgres" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_said(tmp_path, slide_folder, capsys):
    data, folder = str(tmp_path / "data"), str(slide_folder)
    nowhere = f"postgresql:///postgres?host={tmp_path}"
    assert cli.run(["serve", "--folder", folder, "--data", data, "--port", "0", "--database", nowhere]) == 2
    said = capsys.readouterr().err
    assert "The database cannot be opened" in said
    assert "Check --database" in said
