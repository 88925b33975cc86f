"""The audit chain: what breaks it, and that `pathagent audit verify` says where."""

import json

import pytest
from rooms import API
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pathagent.cli import run
from pathagent.reading_room import audit
from pathagent.reading_room.tables import APPEND_ONLY


def verify(room, capsys):
    code = run(["audit", "verify", "--data", str(room.settings.data), "--json"])
    return code, json.loads(capsys.readouterr().out)["faults"]


def change(room, table, statement):
    """As somebody with the file in their hands would: the triggers are taken away first."""
    with room.database.writing() as session:
        for verb in ("update", "delete"):
            session.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_{verb}"))
        session.execute(text(statement))


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET at = 1"])
def test_the_database_refuses_to_change_what_only_grows(table, statement, waiting):
    room, _, _ = waiting
    with pytest.raises(IntegrityError, match=f"{table} only grows"), room.database.writing() as session:
        session.execute(text(statement.format(table)))


def test_an_untouched_chain_is_intact(waiting, capsys):
    room, _, _ = waiting
    assert verify(room, capsys) == (0, [])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET who = 'x' WHERE seq = 2", "link 2 "),
        ("UPDATE audit SET detail = '{}' WHERE seq = 3", "link 3 "),
        ("DELETE FROM audit WHERE seq = 2", "link 2 is missing"),
        ("DELETE FROM audit WHERE seq >= (SELECT max(seq) FROM audit)", "the newest that"),
        ("DELETE FROM audit WHERE seq = 1", "link 1 is missing"),
    ],
)
def test_a_changed_chain_is_broken_at_its_place(statement, said, waiting, capsys):
    room, visit, case = waiting
    visit("anna").post(f"{API}/cases/{case}/versions", json={"base": 1, "edits": {"C1": "A."}})
    assert verify(room, capsys) == (0, [])
    change(room, "audit", statement)
    code, faults = verify(room, capsys)
    assert code == 1 and said in faults[0]


def test_a_changed_report_is_found(waiting, capsys):
    room, _, _ = waiting
    change(room, "report_version", "UPDATE report_version SET report = '{}'")
    code, faults = verify(room, capsys)
    assert code == 1 and faults == [f for f in faults if "is not as the chain knows it" in f] != []


def test_a_report_that_nobody_decided_is_found(waiting, capsys):
    room, _, _ = waiting
    change(room, "report_version", "UPDATE report_version SET status = 'reviewed'")
    _, faults = verify(room, capsys)
    assert any("no human's decision stands in the chain" in fault for fault in faults)


def test_a_link_that_is_made_up_with_its_digest_does_not_follow(waiting):
    room, _, _ = waiting
    change(room, "audit", "UPDATE audit SET who = 'x' WHERE seq = 2")
    with room.database.writing() as session:
        from pathagent.reading_room.tables import AuditRow

        row = session.get_one(AuditRow, 2)
        row.digest = audit._digest(row)
    with room.database.reading() as session:
        assert next(audit.faults(session)).startswith("link 3 does not follow")


def test_verify_says_where_there_is_no_chain(tmp_path, capsys):
    assert run(["audit", "verify", "--data", str(tmp_path)]) == 2
    assert "Give the folder of the server" in capsys.readouterr().err
