"""The same room on PostgreSQL: a case from its draft to its decision, and what only grows."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rooms import API, PASSWORD, opened_room, visitors
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pathagent.reading_room import audit
from pathagent.reading_room.tables import APPEND_ONLY
from pathagent.reading_room.users import add_user


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
